"""Files that cannot be read, and formats and sizes that do not fit."""

from collections import Counter
from collections.abc import Sequence

from seglab.data.audit.finding import MOST_SHOWN, Audited, Finding, number, some
from seglab.data.audit.look import Look
from seglab.sample import IGNORE


def findings(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Return findings on single files: faults, kinds of masks, and images of several formats."""
    return [*_faults(looks), *kinds(audited, looks), *_swapped(audited, looks), *_formats(looks), *_sizes(looks)]


def _faults(looks: Sequence[Look]) -> list[Finding]:
    """Group samples that cannot be used by the kind of their fault, which is the message without names and numbers."""
    groups: dict[str, list[tuple[Look, str]]] = {}
    for look in looks:
        if _is_refused_kind(look):
            continue  # `kinds` says so once for all masks
        for fault in look.faults:
            reason = fault.rsplit(": ", 2)[-2 if fault.count(": ") > 1 else -1]
            kind = "".join("#" if sign.isdigit() else sign for sign in reason)[:60]
            groups.setdefault(kind, []).append((look, fault))
    found = []
    for members in groups.values():
        _, first = members[0]
        more = "" if len(members) == 1 else f" ({len(members) - 1} more like it)"
        head, _, remedy = first.rpartition(": ")
        found.append(
            Finding(
                "error",
                f"{number(len(members), 'sample')} cannot be used",
                f"{head}{more}",
                remedy,
                tuple(fault.partition(": ")[0] for _, fault in members),
                tuple((look.place,) for look, _ in members[:MOST_SHOWN] if look.image is not None),
            )
        )
    return found


def kinds(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Find masks that hold no class indices, and whose source does not convert them."""
    refused = [look for look in looks if _is_refused_kind(look)]
    explained = {
        "colours": (
            "masks of colours",
            "hold colours in place of class indices",
            "name the class of each colour in a table, see docs/howto/data.md, or convert the masks to indices",
        ),
        "alpha": (
            "masks in the alpha channel",
            "have one colour, and the classes are in their opacity",
            "export the masks as one channel of class indices",
        ),
        "lossy": (
            "masks in a lossy format",
            "are JPEG or WebP, which changes labels, most of all at the borders of classes",
            "export the masks again in a lossless format, such as PNG",
        ),
    }
    found = []
    for kind, (title, what, remedy) in explained.items():
        of_kind = [look for look in refused if look.mask is not None and look.mask.kind == kind]
        if of_kind:
            most = max(look.mask.distinct for look in of_kind if look.mask is not None)
            values = f"; up to {number(most, 'different value')} in one mask" if kind != "alpha" else ""
            files = tuple(str(audited.mask_file(look.place)) for look in of_kind)
            shown = tuple((look.place,) for look in of_kind[:MOST_SHOWN])
            what_is = f"{len(of_kind)} of {len(looks)} masks {what}{values}"
            readable = kind == "colours" and audited.class_names is None and most < IGNORE  # by the command that is proposed
            found.append(Finding("warning" if readable else "error", title, what_is, remedy, files, shown))
    return found


def _is_refused_kind(look: Look) -> bool:
    """Return whether the mask was refused because it holds no indices, in the words of `seglab.data.reading.read`."""
    no_indices = look.mask is not None and look.mask.kind != "labels"
    return no_indices and look.image is not None and any(": a mask of " in fault or ": a mask as " in fault for fault in look.faults)


PHOTOGRAPH = 1024
"""Number of different colours from which on a mask looks like a photograph."""

FEW = 64
"""Number of different values up to which an image may be a mask."""


def _swapped(audited: Audited, looks: Sequence[Look]) -> list[Finding]:
    """Find images and masks that are taken for each other."""
    photographs = [look for look in looks if look.mask is not None and look.mask.kind != "labels" and look.mask.distinct > PHOTOGRAPH]
    if len(photographs) * 2 < len(looks) or not looks:
        return []
    grey = [look for look in photographs if look.image is None or (look.image.channels == 1 or look.image.high < FEW)]
    if len(grey) * 2 < len(photographs):
        return []
    files = tuple(str(audited.mask_file(look.place)) for look in photographs)
    return [
        Finding(
            "error",
            "images and masks are swapped",
            f"{len(photographs)} of {len(looks)} masks have more than {PHOTOGRAPH} colours, and their images have one channel or few values",
            "exchange the folders, or the patterns, of images and masks",
            files,
            tuple((look.place,) for look in photographs[:MOST_SHOWN]),
        )
    ]


def _formats(looks: Sequence[Look]) -> list[Finding]:
    """Find images of several numbers of channels or data types, which are refused."""
    of_format: dict[str, list[Look]] = {}
    for look in looks:
        if look.image is not None:
            of_format.setdefault(f"{number(look.image.channels, 'channel')} of {look.image.dtype}", []).append(look)
    if len(of_format) < 2:
        return []
    ordered = sorted(of_format.items(), key=lambda item: -len(item[1]))
    rare = [look for _, members in ordered[1:] for look in members]
    return [
        Finding(
            "error",
            "images of several formats",
            "; ".join(f"{number(len(members), 'image')} of {name}" for name, members in ordered),
            f"convert all images to {ordered[0][0]}",
            tuple(look.name for look in rare),
            tuple((look.place,) for look in rare[:MOST_SHOWN]),
        )
    ]


def _sizes(looks: Sequence[Look]) -> list[Finding]:
    """Find images of several sizes, which need a size, a crop or a batch of 1."""
    sizes = Counter((look.image.rows, look.image.columns) for look in looks if look.image is not None)
    if len(sizes) < 2:
        return []
    words = [f"{rows}×{columns} ({count})" for (rows, columns), count in sizes.most_common()]
    return [
        Finding(
            "note",
            "images of several sizes",
            f"{len(sizes)} sizes (rows × columns): {some(words)}",
            "a batch needs one size: set --data.size or --data.crop",
        )
    ]
