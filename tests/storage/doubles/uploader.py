"""Uploads a directory and is meant to be killed meanwhile: ``python -m … URI PREFIX FOLDER``."""

import sys
from pathlib import Path

from model_core.storage.opening import open_store
from model_core.storage.transfer import upload_tree

if __name__ == "__main__":
    upload_tree(open_store(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
