"""Scripts that do what scripts do, for running each of them warm and cold."""

from __future__ import annotations

SCRIPTS: dict[str, str] = {
    "what it finds": """
        import os, signal, sys, threading
        print(__name__, __file__, __package__, __spec__, type(__loader__).__name__, type(__builtins__).__name__)
        print(sorted(globals()), sys.modules["__main__"].__dict__ is globals())
        print(sys.argv, sys.orig_argv, sys.path, sys.executable, sys.flags, sys.warnoptions)
        print(os.getcwd(), os.getpgid(0) == os.getsid(0) == os.getpid(), os.umask(0), os.nice(0))
        print({key: value for key, value in sorted(os.environ.items()) if not key.endswith("_DIR")})
        print([signal.getsignal(number) for number in sorted(signal.valid_signals())])
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1), threading.active_count())
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            print(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.write_through,
                  stream.isatty(), stream.fileno(), stream.tell() if stream is sys.stdin else "")
        print([number for number in range(64) if os.path.exists(f"/proc/self/fd/{number}")], repr(sys.stdin.read()))
        """,
    "an exception": "def inner():\n    return {}['missing']\n\ndef outer():\n    inner()\n\nprint('before')\nouter()\n",
    "a chain of exceptions": """
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise RuntimeError("because") from error
        """,
    "an exception in another module": "import broken_module\n",
    "a syntax error": "print('never')\nthis is not Python\n",
    "a syntax error in another module": "import unparsable_module\n",
    "an exception group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])\n",
    "sys.exit()": "import sys; sys.exit()\n",
    "sys.exit(3)": "import sys; sys.exit(3)\n",
    "sys.exit(True)": "import sys; sys.exit(True)\n",
    "sys.exit(256)": "import sys; sys.exit(256)\n",
    "sys.exit(-1)": "import sys; sys.exit(-1)\n",
    "sys.exit with a text": "import sys; print('out'); sys.exit('in words')\n",
    "os._exit": "import os; print('lost'); os._exit(5)\n",
    "an interrupt": "raise KeyboardInterrupt\n",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n",
    "an abort": "import os; os.abort()\n",
    "a handler for SIGTERM": """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        os.kill(os.getpid(), signal.SIGTERM)
        """,
    "atexit": """
        import atexit
        atexit.register(print, "first registered, last called")
        atexit.register(lambda: 1 / 0)
        atexit.register(print, "last registered, first called")
        """,
    "excepthook": """
        import sys
        sys.excepthook = lambda kind, value, trace: print(kind, value, trace.tb_lineno)
        1 / 0
        """,
    "excepthook that fails": "import sys\nsys.excepthook = lambda *_: {}['hook']\n1 / 0\n",
    "a thread that outlives the script": """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        print("script")
        """,
    "a thread that raises": "import threading\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()\n",
    "a daemon thread": "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()\n",
    "an executor": """
        from concurrent.futures import ThreadPoolExecutor
        print(list(ThreadPoolExecutor(2).map(abs, [-1, -2])))
        """,
    "a file that is never closed": """
        import atexit
        from pathlib import Path
        file = open("unclosed.txt", "w")
        file.write("everything")
        """,
    "an object with __del__": """
        import json
        class Loud:
            def __del__(self):
                print(json.dumps(WORD))
        WORD = "gone"
        loud = Loud()
        """,
    "a module that is found late": """
        import os, sys
        os.makedirs("late", exist_ok=True)
        sys.path.append("late")
        with open("late/late_comer.py", "w") as file:
            file.write("VALUE = 1")
        import late_comer
        print(late_comer.VALUE)
        """,
    "a fork that runs to the end": "import os\nif os.fork():\n    os.wait()\n    raise SystemExit(3)\n",
    "a temporary folder": """
        import tempfile
        from pathlib import Path
        folder = tempfile.TemporaryDirectory()
        Path("kept").write_text(folder.name)
        """,
    "logging": """
        import logging, logging.handlers, sys
        memory = logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stdout))
        logging.getLogger().addHandler(memory)
        logging.getLogger("trial").error("kept until the end")
        """,
    "a warning": "import warnings\nwarnings.warn('careful')\n",
    "standard output is closed": "import sys\nprint('before')\nsys.stdout.close()\n",
    "standard output is full": "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nprint('lost')\n",
    "a subprocess": """
        import subprocess, sys
        look = "import os; print(os.getcwd(), sorted(os.listdir('/proc/self/fd')))"
        print(subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout)
        """,
    "a fork": "import os\nif os.fork() == 0:\n    print('child')\nelse:\n    os.wait(); print('parent')\n",
    "a process pool": """
        import multiprocessing
        def double(x):
            return 2 * x
        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, pool.map(double, [1, 2, 3]))
        """,
    "its own source": """
        import inspect, pickle, __main__
        class Net:
            layers = 2
        def build():
            return Net()
        print(inspect.getsource(build), pickle.loads(pickle.dumps(build())).layers, __main__.Net is Net, Net.__module__)
        """,
    "annotations and future imports": "from __future__ import annotations\nx: Missing = 1\nprint(__annotations__)\n",
    "no future imports": "def f(x: int): ...\nprint(f.__annotations__)\n",
    "an encoding": "# -*- coding: latin-1 -*-\nprint('caf\\u00e9', ascii('caf\xe9'))\n",
    "a module beside it": "import sys, helper\nprint(helper.VALUE, helper.__file__, helper.__name__ in sys.modules)\n",
    "a doc string": '"""What it does."""\nprint(__doc__)\n',
}

BESIDE = {
    "helper.py": "VALUE = 3\n",
    "broken_module.py": "def fail():\n    raise ValueError('here')\n\nfail()\n",
    "unparsable_module.py": "def (\n",
}
