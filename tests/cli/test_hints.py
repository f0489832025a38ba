"""Every message that names an option names one that the command has which prints it, or says whose option it is."""

from __future__ import annotations

from tests.hints import Message, commands_in, commands_of, mentions, messages, options_of, roots

ALWAYS = {"--help", "--version"}
# Options of other programs: (where, option).
OTHER_PROGRAMS = {
    ("posetools.labeling.annotate", "--config"),  # labelme
    ("posetools.labeling.annotate", "--logger-level"),
    ("posetools.errors", "--extra"),  # uv
    ("posetools.mm.doctor", "--extra"),
    ("posetools.mm.doctor", "--inexact"),
    ("posetools.mm.doctor", "--python"),
    ("posetools.mm.doctor", "--reinstall-package"),
    ("posetools.mm.doctor", "--gpus"),  # docker
    ("posetools.recipes.blocks", "--auto-scale-lr"),  # mmdet's tools/train.py
    ("posetools.recipes.det", "--tta"),  # mmdet's tools/test.py
    ("posetools.training.slurm", "--kill-on-bad-exit"),  # srun
}
# Commands that run others with options of their own choice: whatever an option needs is never reached there, and each
# step is shown with its command.
RUNS = {
    "annotate": ("convert", "validate"),
    "config": ("train",),
    "train": ("config", "eval"),
    "slurm": ("train",),
    "demo": tuple(roots()),
    "fit": tuple(roots()),
}
# Commands that read a source as convert does: their errors end with the convert command (options_of_convert).
READ_AS_CONVERT = ("diff", "review", "sigmas", "skeleton new", "view")
# What names tell is reached and is not: (definition, commands) -> why.
NOT_PRINTED = {
    ("posetools.cli.models.check_models", "export"): "bundles are not offered there",
    ("posetools.formats.sources.scratch.images_refused", "*"): "only convert leaves images out",
    ("posetools.files.disk.transfer", "review"): "it gives its own option for links",
    ("posetools.files.disk.transfer", "predict"): "a copy is asked for, and only links are refused so",
    ("posetools.checks.near.check_near_request", "*"): "only who has --near-duplicates can ask for it",
    ("posetools.checks.near.load_imagehash", "*"): "only who has --near-duplicates can ask for it",
    ("posetools.mm.inference._Model", "*"): "only who has --amp can ask for it",
    ("posetools.pairs.open._open_bundle", "*"): "only who has such an option can give it",
    ("posetools.pairs.pipeline.PosePipeline", "*"): "only who has such an option can give it",
    ("posetools.pairs.pipeline._chosen", "*"): "only who has such an option can give it",
    ("posetools.checks.validate.validate", "*"): "only validate has --fix",
    ("posetools.core.verdict.data_verdict", "*"): "only validate prints it",
    ("posetools.core.findings.RULES", "*"): "what a code means",
    ("posetools.formats.coco.keypoints._only_category", "*"): "only with --kpt-order",
    ("posetools.formats.coco.keypoints._unnamed", "*"): "only with --kpt-order",
    ("posetools.formats.coco.keypoints.name_keypoints", "*"): "only with --kpt-order",
    ("posetools.formats.coco.read._columns", "*"): "only with --map",
    ("posetools.formats.joining.made_boxes.MARGIN_HINT", "*"): "only with --box-from",
    ("posetools.formats.labels.settled", "*"): "only with the option it names",
    ("posetools.datasets.own_skeleton._asked", "*"): "only with --map",
    ("posetools.formats.wildcards.LabelNames", "*"): "only with --map",
    ("posetools.formats.labels.unknown_label", "subset"): "its errors end with the command that has the options",
    ("posetools.formats.labels.unknown_label", "eval"): "it prints no hints of the reader",
    ("posetools.formats.labels.unknown_label", "test"): "it prints no hints of the reader",
    ("posetools.formats.labels.unknown_label", "train"): "it prints no hints of the reader",
    ("posetools.formats.labels.unknown_label", "config"): "it prints no hints of the reader",
    ("posetools.formats.labels.unknown_label", "export"): "its data set is that of the run, of the run's skeleton",
    ("posetools.evaluation.undertrained._training_of", "*"): "words of `posetools train`",
    ("posetools.evaluation.folds._pair_of", "*"): "words of `posetools train`",
    ("posetools.core.groups._keys", "*"): "an evaluation prints no reason of the groups",
    ("posetools.core.groups._matched_keys", "*"): "an evaluation groups by the names then",
    ("posetools.core.skeleton.new_command", "*"): "words of `posetools skeleton new`",
    ("posetools.core.skeleton_draft.draft_skeleton", "*"): "a reader only asks whether labels could be keypoints",
    ("posetools.core.skeleton_draft._unsure", "skeleton new"): "it leaves unsure pairs open",
    ("posetools.core.folder._declared_categories", "skeleton new"): "it reads the categories itself",
    ("posetools.scale.shards.Processes", "*"): "one process without --workers",
    ("posetools.datasets.shown._check_split", "review"): "it asks for no split",
    ("posetools.labeling.view.draw_sheet", "review"): "its sheet has a limit of its own",
}


def _where(message: Message) -> str:
    return f"{message.node.module}.{message.node.name}:{message.line}"


def _is_excused(message: Message, option: str, command: str) -> bool:
    name = f"{message.node.module}.{message.node.name}"
    if option in ALWAYS or (message.node.module, option) in OTHER_PROGRAMS:
        return True
    if any(option in options_of()[other] for other in RUNS.get(command, ())):
        return True
    if (
        command in READ_AS_CONVERT
        and name.startswith(("posetools.formats.", "posetools.datasets.declared."))
        and option in options_of()["convert"]
    ):
        return True
    return (name, command) in NOT_PRINTED or (name, "*") in NOT_PRINTED


def missing_options() -> list[str]:
    """Return each option that a message names and its command lacks."""
    found = []
    for message in messages():
        for command in commands_of(message):
            for mention in mentions(message.text):
                owner = mention.command or command
                if mention.option not in options_of()[owner] and not _is_excused(message, mention.option, owner):
                    found.append(f"{_where(message)}: {mention.option} is no option of {owner}")
    return sorted(set(found))


def test_no_message_names_an_option_that_the_command_lacks() -> None:
    assert not missing_options()


def test_commands_that_messages_name_are_there() -> None:
    known = {name.split()[0] for name in options_of()}
    named = {(command, _where(message)) for message in messages() for command in commands_in(message.text)}
    assert not [where for command, where in sorted(named) if command not in known]
    assert len({command for command, _ in named}) > 5


def test_messages_of_readers_reach_the_commands_that_read() -> None:
    """The test above is worth something only while names lead from commands to readers."""
    of = {
        f"{m.node.module}.{m.node.name} {each.option}": commands_of(m) for m in messages() for each in mentions(m.text)
    }
    assert {"convert", "diff", "sigmas", "view", "review"} <= set(
        of["posetools.formats.deeplabcut.format.shards --assume-visible"]
    )
    assert "subset" in of["posetools.formats.coco.read._columns --map"]
    assert "merge" in of["posetools.formats.labels.unknown_label --ignore"]
    assert {"train", "eval"} <= {command for commands in of.values() for command in commands}
    assert "predict" not in of["posetools.core.folder.check_out --overwrite"]
    # Every message that names an option is somebody's.
    alone = [name for name, commands in of.items() if not commands]
    assert {name.split()[0].rpartition(".")[0] for name in alone} <= {
        "posetools.cli.front",
        "posetools.cli.app",
        "posetools.cli.renamed",
        "posetools.cli.stopping",
        "posetools.core.findings",
        # Each method belongs to another command.
        "posetools.trainers.torchvision.trainer",
    }, alone
