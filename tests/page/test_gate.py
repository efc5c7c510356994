"""Whatever door a request comes by: two decode and search at once, some wait, the rest is told that it is busy."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from pipeline.core.errors import Busy, PhotoError
from pipeline.core.recipes import DEFAULT
from pipeline.galleries.galleries import Galleries
from pipeline.galleries.gallery import Gallery
from pipeline.galleries.preparation import Preparation
from pipeline.page.server.gate import BUSY, Gate
from tests.fakes import portrait, tiny_gallery
from tests.faults.corpus import encode

if TYPE_CHECKING:
    import gradio as gr

# Gradio leaves event loops and their sockets to the garbage collector; `page` collects them here and now.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SECONDS = 30


@pytest.mark.slow
def test_so_many_at_once_some_wait_and_the_rest_is_refused() -> None:
    gate, may_go_on, within = Gate(2, 3), threading.Event(), threading.Semaphore(0)
    most, now, lock = 0, 0, threading.Lock()

    def one() -> str:
        nonlocal most, now
        try:
            with gate.turn():
                with lock:
                    now += 1
                    most = max(most, now)
                within.release()
                assert may_go_on.wait(SECONDS)
                with lock:
                    now -= 1
        except Busy as error:
            return str(error)
        return "done"

    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(one) for _ in range(9)]
        for _ in range(2):
            assert within.acquire(timeout=SECONDS)
        refused = [future.result(SECONDS) for future in asked if not_waiting(future)]
        may_go_on.set()
        said = [future.result(SECONDS) for future in asked]
    assert refused == [BUSY] * 4
    assert sorted(said) == sorted([BUSY] * 4 + ["done"] * 5)
    assert most == 2


def not_waiting(future: Any) -> bool:  # noqa: ANN401
    """Whether it has an answer within half a second."""
    try:
        future.result(0.5)
    except TimeoutError:
        return False
    return True


def test_a_turn_is_given_back_when_a_search_fails() -> None:
    gate = Gate(1, 0)
    for _ in range(3):
        with pytest.raises(PhotoError), gate.turn():
            raise PhotoError("This is no photo.")
        with gate.turn_at_once() as free:
            assert free


def test_who_does_not_wait_takes_no_turn_of_others() -> None:
    gate = Gate(1, 0)
    with gate.turn(), gate.turn_at_once() as free:
        assert not free
    with gate.turn_at_once() as first, gate.turn_at_once() as second:  # giving back nothing must not make room
        assert (first, second) == (True, False)
        with gate.turn_at_once() as third:
            assert not third


@pytest.fixture
def page(tiny: Gallery) -> Iterator[gr.Blocks]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gradio and the libraries below it warn of each other's deprecated names
        import app

        yield app.build_page(Galleries(Preparation(tiny)))
        gc.collect()


def test_every_event_waits_in_the_queue_and_no_address_goes_past_it(page: gr.Blocks) -> None:
    events = [event for event in page.fns.values() if event.fn is not None]
    assert len(events) > 30
    assert [event.name for event in events if not event.queue] == []
    assert not page.api_open


def test_every_event_that_is_not_quick_goes_through_the_gate(page: gr.Blocks) -> None:
    events = [event for event in page.fns.values() if event.fn is not None]
    gated = {event._id for event in events if getattr(event.fn, "__wrapped__", None) is not None}
    assert gated == {event._id for event in events if event.concurrency_limit is not None}
    public = {event.api_name for event in events if event.api_visibility == "public"}
    assert public == {"search", "compare", "explain", "galleries", "health"}
    assert {event.api_name for event in events if event._id in gated} >= {"search", "compare", "explain"}


@pytest.mark.slow
def test_cancelling_a_search_makes_no_room_while_it_goes_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Gradio forgets a cancelled event at once, and starts the next; the thread that decodes goes on."""
    import app

    preparation = Preparation(tiny_gallery(tmp_path_factory.mktemp("tiny")))
    preparation.start([DEFAULT])
    preparation.wait()
    searcher = preparation.searcher(DEFAULT)
    search, may_go_on, under_way = searcher.search, threading.Event(), []

    def held(*asked: Any, **options: Any) -> Any:  # noqa: ANN401
        under_way.append(1)
        assert may_go_on.wait(SECONDS)
        return search(*asked, **options)

    searcher.search = held  # type: ignore[method-assign]
    served = app.launch(Galleries(preparation), prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    url = f"{served.local_url}gradio_api"
    number = next(event._id for event in served.fns.values() if event.api_name == "search")
    (path,) = requests.post(f"{url}/upload", files={"files": ("a.jpg", encode(portrait(1)))}, timeout=SECONDS).json()
    photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for visitor in range(6):
        asked = {"data": [photo, DEFAULT, "exact", 3, 0, ""], "session_hash": f"visitor{visitor}"}
        event = requests.post(f"{url}/call/search", json=asked, timeout=SECONDS).json()["event_id"]
        threading.Event().wait(0.3)  # until it is under way
        cancel = {"session_hash": f"visitor{visitor}", "fn_index": number, "event_id": event}
        assert requests.post(f"{url}/cancel", json=cancel, timeout=SECONDS).status_code == 200
    most = len(under_way)
    may_go_on.set()
    served.close()
    gc.collect()
    assert most == 2
