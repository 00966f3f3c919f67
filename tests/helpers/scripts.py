"""Scripts of the repository, which are in no package."""

import importlib.util
import sys


def load_script(path):
    """Return a script as a module."""
    name = f"script_{path.stem.strip('_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
