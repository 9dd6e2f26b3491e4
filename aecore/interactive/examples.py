"""Images to show as examples, and what they are called."""

from __future__ import annotations

from ..data.images import Images


def names_of(images: Images) -> list[str]:
    """Return a name for each image: its class, and its place in the set where another one has the same."""
    if images.labels is None:
        return [f"image {i + 1}" for i in range(len(images))]
    names = [class_name(images, label) for label in images.labels.tolist()]
    return [name if names.count(name) == 1 else f"{name} (image {i + 1})" for i, name in enumerate(names)]


def class_name(images: Images, label: int) -> str:
    """Return what the class of a label is called: its name where the set has one, else its number."""
    return images.classes[label] if label < len(images.classes) else str(label)


def one_of_each(images: Images, count: int = 10) -> Images:
    """Return the first image of each class, at most `count`; of a set that is no larger than that, all.

    The classes come in their order; without labels the first images are taken.
    """
    if len(images) <= count or images.labels is None:
        return images[:count]
    labels = images.labels.tolist()
    return images[[labels.index(label) for label in sorted(set(labels))[:count]]]
