"""A Google Drive to work in, because Colab's machines forget everything."""

import os
from pathlib import Path

MOUNT = Path("/content/drive")


def work_on_drive() -> Path:
    """Mount the reader's Google Drive, for which Colab asks permission, and work in its folder `vae_lab`.

    Data sets are kept there ($VAE_LAB_DATA), and so is what is written to a relative path, such as a
    checkpoint. Returns the folder. Raises `RuntimeError` outside Colab.
    """
    try:
        from google.colab import drive
    except ImportError:
        raise RuntimeError(
            "only Colab can mount Google Drive; elsewhere set VAE_LAB_DATA to the folder that is to keep data"
        ) from None
    drive.mount(str(MOUNT))
    folder = MOUNT / "MyDrive" / "vae_lab"
    folder.mkdir(exist_ok=True)
    os.environ["VAE_LAB_DATA"] = str(folder)
    os.chdir(folder)
    print(f"Working in {folder}")
    return folder
