"""Reverse face search: a photo goes in, the people in the gallery who look most like it come out.

    BUILD    photos ──Photo──> encoder ──Encoded──> build ──Gallery──> gallery on disk ──vectors──> indexes
                              (faces, networks)                              │                         │
    SEARCH   query photo ───> encoder ──vector─────────────────────> search <──────── Neighbours ──────┘
                                                                       │ Answer(face, hits)
                                                                       v
                                                             app.py  /  __main__.py

    MEASURE  gallery + indexes + pairs ──> evaluate (protocols ──arrays──> metrics) ──figures──> report

There is one road from photo to vector, `encoder.Encoder.encode`; building and searching both take it.
Modules import downwards only; `tests/test_architecture.py` holds the table. Importing this package loads nothing heavy.
"""
