"""Tests of zbus.py against a real broker: BROKER is its binary."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from zbus import CallError, Client, ZbusError


PATIENCE = 60  # seconds for what has to come


class Broker:
    def __init__(self, *flags: str):
        self.dir, self.address, self.flags = tempfile.mkdtemp(), "127.0.0.1:0", flags
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [os.environ["BROKER"], "--listen", self.address, "--data", self.dir, *self.flags],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        said = ""
        for line in self.process.stdout:
            said += line
            if re.search(r"stop\s+Ctrl-C", line):
                break
        found = re.search(r"listening\s+http://(\S+)", said)
        if not found:
            raise RuntimeError(said)
        self.address = found[1]
        self.url = f"http://{self.address}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.dir)


class Connections:
    """Those of a line between two cuts."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.muted = False


class Line:
    """A way to the broker that can be cut."""

    def __init__(self, to: str):
        self.to, self.now = to, Connections()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.to.split(":"))
            except OSError:
                return
            now = self.now
            now.ends += [near, far]
            threading.Thread(target=self._pass, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, now), daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket, heard: Connections | None) -> None:
        try:
            while data := source.recv(65536):
                if not (heard and heard.muted):
                    to.sendall(data)
        except OSError:
            pass
        for s in (source, to):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def mute(self) -> None:
        """Lets no answer through on the connections there are, however late it comes."""
        self.now.muted = True

    def cut(self) -> None:
        """Ends the connections there are. New ones are let through."""
        cut, self.now = self.now, Connections()
        for s in cut.ends:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self.listener.close()
        self.cut()


class TestClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.broker = Broker()
        cls.c = Client(cls.broker.url)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.broker.close()

    def line(self) -> Line:
        line = Line(self.broker.address)
        self.addCleanup(line.close)
        return line

    def until(self, what: str, holds) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), end, f"never happened: {what}")
            time.sleep(0.01)

    def code(self, code: str, f, *args, **more) -> ZbusError:
        with self.assertRaises(ZbusError) as caught:
            f(*args, **more)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception

    def test_publish_pull_and_ack(self) -> None:
        c = self.c
        c.create_topic("jobs")
        c.create_group("jobs", "workers", settle="explicit", start="earliest", ackTimeout=600_000)
        first = c.publish("jobs", "one", id="a", tag="t.x", key="k", headers={"shop": "north"})
        self.assertEqual((first.offset, first.id, first.duplicate), (0, "a", False))
        again = c.publish("jobs", "one", id="a")
        self.assertEqual((again.offset, again.duplicate), (0, True))
        self.assertEqual(c.publish("jobs", b"\x00\xff").offset, 1)
        one, two = c.pull("jobs", "workers", max=10, timeout=5)
        self.assertEqual((one.body, one.tag, one.key, one.headers["shop"], one.delivery_count), (b"one", "t.x", "k", "north", 1))
        self.assertEqual(two.body, b"\x00\xff")
        one.ack()
        two.extend()
        two.nack()
        (two,) = c.pull("jobs", "workers", timeout=5)
        self.assertEqual((two.offset, two.delivery_count), (1, 2))
        two.ack()
        self.assertEqual(c.request("GET", "/topics/jobs/groups/workers")["lag"], "0")
        self.assertEqual(c.pull("jobs", "workers"), [])
        self.code("conflict", one.ack)  # it was acked before
        missing = self.code("not_found", c.publish, "nowhere", "x")
        self.assertEqual(missing.problem["status"], 404)
        self.assertEqual([m["body"] for m in c.browse("jobs", from_=0, limit=1)["messages"]], ["one"])

    def test_a_publish_whose_answer_was_lost_is_stored_once(self) -> None:
        self.c.create_topic("once")
        line = self.line()
        far = Client(line.url)
        far.publish("once", "0")
        line.mute()
        got: list = []
        t = threading.Thread(target=lambda: got.append(far.publish("once", "1")))
        t.start()
        self.until("it is stored", lambda: self.c.request("GET", "/topics/once")["nextOffset"] == "2")
        line.cut()
        t.join(PATIENCE)
        self.assertEqual((got[0].offset, got[0].duplicate), (1, True))
        self.assertEqual(self.c.request("GET", "/topics/once")["nextOffset"], "2")
        self.code("unavailable", Client("http://127.0.0.1:1", retry=0).publish, "once", "x")

    def test_a_stream_goes_on_over_connections(self) -> None:
        c = self.c
        c.create_topic("log")
        c.publish_all("log", [{"body": str(i)} for i in range(250)])
        line = self.line()
        seen = []
        for m in Client(line.url).stream("log", start="earliest", window=10):
            seen.append(int(m.body))
            if len(seen) in (50, 120):
                line.cut()
            if len(seen) == 250:
                break
        self.assertEqual(seen, list(range(250)))

    def test_a_stream_of_an_explicit_group(self) -> None:
        c = self.c
        c.create_topic("tasks")
        c.create_group("tasks", "g", settle="explicit", start="earliest", ackTimeout=600_000)
        c.publish_all("tasks", [{"body": str(i)} for i in range(30)])
        line = self.line()
        done = set()
        for n, m in enumerate(Client(line.url).stream("tasks", "g", window=4)):
            if n == 10:
                line.cut()
            try:
                m.ack()
                done.add(int(m.body))
            except ZbusError as e:
                self.assertIn(e.code, ("unknown", "not_found", "conflict"))
            if c.request("GET", "/topics/tasks/groups/g")["lag"] == "0":
                break
        self.assertLessEqual(len(done), 30)
        self.assertGreaterEqual(len(done), 28)  # an ack whose answer was lost has counted, too

    def test_call_and_serve(self) -> None:
        c = self.c
        c.create_topic("calc", kind="rpc")

        def buy(item):
            raise CallError(f"{item} is sold out", 409, "sold_out", {"left": 0})

        hung = threading.Event()
        release = threading.Event()
        self.addCleanup(release.set)
        # What has timed out may get to the service late: it is another method than the one that is waited for.
        methods = {
            "add": lambda a, b: a + b, "shop.buy": buy, "broken": lambda: 1 // 0, "slow": lambda: release.wait(PATIENCE),
            "hang": lambda: (hung.set(), release.wait(PATIENCE))[1],
        }
        s, ready = c.socket(), threading.Event()
        ended: list = []

        def run() -> None:
            try:
                s.serve("calc", methods, workers=2, ready=ready.set)
            except ZbusError as e:
                ended.append(e.code)

        t = threading.Thread(target=run)
        t.start()
        self.assertTrue(ready.wait(PATIENCE))
        self.assertEqual(c.call("calc", "add", 1, 2), 3)
        with c.socket() as other:
            self.assertEqual([other.call("calc", "add", i, 1) for i in range(20)], list(range(1, 21)))
            with self.assertRaises(CallError) as caught:
                other.call("calc", "buy", "tea", module="shop")
        for e in [caught.exception]:
            self.assertEqual((e.message, e.status, e.code, e.data), ("tea is sold out", 409, "sold_out", {"left": 0}))
        with self.assertRaises(CallError) as caught:
            c.call("calc", "none")
        self.assertEqual((caught.exception.status, caught.exception.code), (404, "no_method"))
        with self.assertRaises(CallError) as caught:
            c.call("calc", "broken")
        self.assertEqual(caught.exception.status, 500)
        self.assertTrue(self.code("timeout", c.call, "calc", "slow", timeout=0.05).maybe)
        lost: list = []
        caller = threading.Thread(target=lambda: lost.append(self.code("provider_gone", c.call, "calc", "hang")))
        caller.start()
        self.assertTrue(hung.wait(PATIENCE))
        s.close()
        caller.join(PATIENCE)
        self.assertEqual(len(lost), 1)
        release.set()
        t.join(PATIENCE)
        self.assertEqual(ended, ["unknown"])
        self.until("there is no provider", lambda: self.code("unavailable", c.call, "calc", "add", 1, 2))

    def test_the_example_packs_each_parcel_once(self) -> None:
        here = os.path.dirname(os.path.abspath(__file__))
        script = os.path.join(here, "..", "..", "examples", "python", "parcels.py")
        env = os.environ | {"PYTHONPATH": here, "PYTHONDONTWRITEBYTECODE": "1", "ZBUS_SERVER": self.broker.url}

        def run() -> str:
            return subprocess.run([sys.executable, script], env=env, check=True, capture_output=True, text=True, timeout=60).stdout

        self.assertEqual(sorted(run().splitlines()), ["no tape for parcel 1", "packed parcel 0", "packed parcel 1", "packed parcel 2"])
        self.assertEqual(run(), "")

    def test_tokens(self) -> None:
        closed = Broker("--auth", "on")
        self.addCleanup(closed.close)
        self.code("unauthorized", Client(closed.url, "no-such-token").publish, "t", "x")
        self.code("unauthorized", Client(closed.url, "no-such-token").socket)
        self.code("unauthorized", Client(closed.url).pull, "t", "g")


if __name__ == "__main__":
    unittest.main()
