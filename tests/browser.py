"A headless Chromium, spoken to over a pair of pipes in the DevTools protocol: no driver, no library."

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager


def chromium():
    "Where a Chromium is; None where there is none."
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if shutil.which(name):
            return shutil.which(name)
    return None


def complaint(method, p):
    "What the page complains about in a message; None for all other messages."
    match method:
        case "Runtime.exceptionThrown":
            details = p["exceptionDetails"]
            return details.get("exception", {}).get("description") or details["text"]
        case "Runtime.consoleAPICalled" if p["type"] in ("error", "warning", "assert"):
            return " ".join(str(a.get("value", a.get("description"))) for a in p["args"])
        case "Log.entryAdded" if p["entry"]["level"] in ("error", "warning"):
            return f"{p['entry']['text']} {p['entry'].get('url', '')}"
        case "Network.loadingFailed" if not p.get("canceled"):
            return p["errorText"]
        case "Network.requestWillBeSent":
            url = p["request"]["url"]
            return None if url.startswith(("file:", "data:", "about:")) else f"asked the network for {url}"
    return None


class Browser:
    "One page that goes where it is told, and keeps what it complained about in `.complaints`."

    def __init__(self, send, receive):
        self.send, self.receive, self.rest = send, receive, b""
        self.numbers, self.complaints = itertools.count(1), []
        target = self.call("Target.createTarget", session=None, url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", session=None, targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def message(self, seconds=90):
        "The next message; None when none came in time."
        until = time.monotonic() + seconds
        while b"\0" not in self.rest:
            if not select.select([self.receive], [], [], max(0, until - time.monotonic()))[0]:
                return None
            piece = os.read(self.receive, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has gone")
            self.rest += piece
        one, self.rest = self.rest.split(b"\0", 1)
        m = json.loads(one)
        said = complaint(m.get("method"), m.get("params", {}))
        if said is not None:
            self.complaints.append(said)
        return m

    def call(self, method, session=True, **params):
        "Ask, and wait for the answer."
        number = next(self.numbers)
        question = {"id": number, "method": method, "params": params}
        if session:
            question["sessionId"] = self.session
        os.write(self.send, json.dumps(question).encode() + b"\0")
        while (m := self.message()) is not None:
            if m.get("id") == number:
                if "error" in m:
                    raise RuntimeError(f"{method}: {m['error']['message']}")
                return m["result"]
        raise TimeoutError(method)

    def open(self, url):
        "Go there, and wait until everything is loaded."
        self.call("Page.navigate", url=url)
        while (m := self.message()) is not None:
            if m.get("method") == "Page.loadEventFired":
                return self.run("document.fonts.ready.then(() => new Promise(r => setTimeout(r, 0)))")
        raise TimeoutError(url)

    def run(self, script):
        "The value of an expression, awaited, as Python sees it."
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise RuntimeError(got["exceptionDetails"].get("exception", {}).get("description", script))
        return got["result"].get("value")

    def size(self, width, height, mobile=False):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def shot(self, path, whole=False):
        "What is seen, as a PNG."
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))


OPTIONS = """
--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run
--disable-background-networking --disable-component-update --disable-extensions
--allow-file-access-from-files --hide-scrollbars --remote-debugging-pipe
""".split()

# the browser reads and writes on 3 and 4
WIRE = """
import os, sys
a, b = (os.dup(os.dup(int(n))) for n in sys.argv[1:3])
os.dup2(a, 3)
os.dup2(b, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextmanager
def browser():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        (theirs, send), (receive, answer) = os.pipe(), os.pipe()
        command = [chromium(), *OPTIONS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [sys.executable, "-ISc", WIRE, str(theirs), str(answer), *command],
            pass_fds=(theirs, answer),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answer)
        try:
            yield Browser(send, receive)
        finally:
            process.terminate()
            process.wait(10)
            os.close(send)
            os.close(receive)
