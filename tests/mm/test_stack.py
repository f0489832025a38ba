"""What every function that touches OpenMMLab does first: refuse without the extra, and make the process ready."""

from __future__ import annotations

import subprocess
import sys

import pytest

from posetools.errors import MissingExtraError
from posetools.mm import stack
from posetools.mm.stack import missing_packages, prepare, require_train


@pytest.mark.parametrize("ask", [require_train, prepare])
def test_without_the_extra_the_message_names_what_is_missing_and_the_command(
    monkeypatch: pytest.MonkeyPatch, ask: object
) -> None:
    monkeypatch.setattr(stack, "find_spec", lambda name: None if name in {"mmcv", "cv2"} else object())
    assert missing_packages() == ("mmcv-lite", "opencv-python")
    assert callable(ask)
    with pytest.raises(MissingExtraError) as caught:
        ask("posetools train")
    assert str(caught.value).startswith("posetools train needs the 'train' extra (mmcv-lite is not installed)")
    assert "uv sync --extra train" in str(caught.value)
    assert "make install" in str(caught.value)
    assert (caught.value.extra, caught.value.exit_status) == ("train", 2)


def _python(program: str) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_looking_for_the_extra_imports_nothing() -> None:
    said = _python(
        "import sys\n"
        "from posetools.mm.stack import missing_packages\n"
        "missing_packages()\n"
        "print(sorted({'torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmpose', 'cv2'} & set(sys.modules)))"
    )
    assert said.strip() == "[]"


@pytest.mark.train
def test_a_prepared_process_is_safe_quiet_and_ready() -> None:
    said = _python(
        "from posetools.mm.stack import prepare\n"
        "prepare('this test')\n"
        "prepare('this test')\n"
        "import mmdet.apis, mmpose.apis, torch\n"
        "from mmcv.utils import ext_loader\n"
        "from mmengine.runner import CheckpointLoader, checkpoint\n"
        "torch.meshgrid(torch.ones(2), torch.ones(2))\n"
        "torch.cuda.amp.autocast(enabled=False)\n"
        "print(ext_loader.load_ext('_ext', ['nms']).nms(torch.ones(2, 4), torch.ones(2), 0.5, 0).tolist())\n"
        "print(CheckpointLoader._get_checkpoint_loader('best.pth').__module__, checkpoint.load_url.__module__)"
    )
    assert said.split() == ["[0,", "1]", "posetools.mm.checkpoint", "posetools.mm.checkpoint"]


@pytest.mark.train
def test_an_mmcv_without_ops_is_one_sentence_that_names_doctor() -> None:
    said = _python(
        "import sys\n"
        "sys.modules['mmcv._ext'] = None\n"
        "from posetools.errors import RequestError\n"
        "from posetools.mm.stack import prepare\n"
        "try:\n"
        "    prepare('posetools train')\n"
        "except RequestError as exc:\n"
        "    print(exc)"
    )
    assert said.startswith("posetools train needs the 'train' extra, which is installed but does not work: Module")
    assert "mmcv._ext" in said
    assert said.endswith("posetools doctor names what is wrong, and the command that mends it\n")
