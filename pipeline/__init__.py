"""Reverse face search: a photo goes in, the people in the gallery who look most like it come out.

    BUILD    photos ──Photo──> encoder ──Encoded──> build ──Gallery──> gallery on disk ──vectors──> indexes
                              (faces, networks)                              │                         │
    SEARCH   query photo ───> encoder ──vector─────────────────────> search <──────── Neighbours ──────┘
                                                                       │ Answer(face, hits)
                                                                       v
                                                             app.py  /  __main__.py

    MEASURE  gallery + indexes + pairs ──> evaluate (protocols ──arrays──> metrics) ──figures──> report

There is one way from photo to vector, `Encoder.encode`; building, searching and evaluating all take it.
Packages import downwards only, as `pyproject.toml` has it (`lint-imports`). Importing any of them loads nothing heavy.
"""

from pipeline.telemetry import switch_off

switch_off()
