"""What is left of G20's explanations of its two methods, a sentence each, from words alone.

Where nothing is decided the sentence says no more, and the words stand in a table: see `judged_by`.
"""

from __future__ import annotations

from sgdnoise.claims import Word
from sgdnoise.experiments.larger_gradients.grid import LEFT_OUT
from sgdnoise.experiments.larger_gradients.measured import at_which

AGAINST = ("absent", "contradicted")
"""The words that deny an effect."""


def of_discarding(grew: Word, free: Word, equal: Word, larger: list[bool], last: int) -> str:
    """What is left of the explanation that a larger gradient is why leaving out helps.

    Args:
        grew: whether the gradient grows, more than by chance.
        free: whether accuracy is gained where large batches lose some.
        equal: the same where all updates are equally long.
        larger: at which of the logged updates the gradient is larger, with as much left out as
            where accuracy is judged.
        last: the last update that is logged.
    """
    if free == "reproduced" and equal in AGAINST:
        return (
            "**Larger gradients remain a possible explanation**: leaving out small losses wins "
            "accuracy back where large batches lose it, and does not where all updates are equally "
            "long."
        )
    if free == equal == "reproduced":
        return (
            "**Larger gradients are not the explanation**: leaving out small losses wins accuracy "
            "back where large batches lose it, and does so too where all updates are equally long."
        )
    if free in AGAINST and grew == "reproduced":
        if all(larger):
            return (
                "**Larger gradients are not the explanation**: leaving out small losses enlarges "
                f"the gradient at {at_which(larger)}, the last of them update {last:,}, and wins "
                "nothing back where large batches lose accuracy."
            )
        return (
            "**A gradient that is larger at first wins nothing back**: leaving out small losses "
            "enlarges the gradient at the first update, and gains no accuracy where large batches "
            f"lose some. In figure 9's runs with {100 * LEFT_OUT:g} % left out it is larger at "
            f"{at_which(larger)}; nothing is logged beyond update {last:,}. So what a gradient "
            "that stays larger would do is not tested."
        )
    return "**Whether larger gradients are the explanation is not decided.**"


def of_first_epoch(small: tuple[Word, Word], slow: tuple[Word, Word], apart: Word) -> str:
    """What is left of the explanation that a small first batch lengthens the steps.

    Args:
        small: whether it calms the loss, and whether runs end higher and closer.
        slow: the same of a first epoch at the low rate alone, in large batches.
        apart: whether the small batch calms the loss against the low rate alone. Where it surely
            does, nothing denies it: asked after the runs had been seen.
    """
    shown = [other for mine, other in zip(small, slow, strict=True) if mine == "reproduced"]
    if shown and all(other in AGAINST for other in shown):
        return (
            "**The small first batch remains a possible explanation**: the lower rate alone does "
            "not do what it does."
        )
    alike = shown and all(other == "reproduced" for other in shown)
    if apart == "reproduced" and (alike or all(word in AGAINST for word in small)):
        unsettles = ", which that rate by itself unsettles" if slow[0] == "contradicted" else ""
        return (
            "**Whether the small first batch is the explanation is not decided.** Against the "
            f"lower rate alone it calms the loss{unsettles}. So there may be something for a "
            "longer step to explain."
        )
    if alike:
        return (
            "**The small first batch is not the explanation**: the lower rate of that epoch does "
            "the same in large batches."
        )
    if all(word in AGAINST for word in small):
        return (
            "**The small first batch is not the explanation**: it neither calms the loss nor makes "
            "runs end better, so that there is nothing for a longer step to explain."
        )
    return "**Whether the small first batch is the explanation is not decided.**"


def judged_by(
    grew: Word,
    free: Word,
    equal: Word,
    small: tuple[Word, Word],
    slow: tuple[Word, Word],
    apart: Word,
) -> list[tuple[str, str, Word]]:
    """Of each explanation what it is judged by, and the word.

    The words are those that `of_discarding` and `of_first_epoch` take.
    """
    larger, batch = "larger gradients", "the small first batch"
    better = "runs end higher and closer together"
    return [
        (larger, "leaving out small losses enlarges the first gradient", grew),
        (larger, "leaving them out wins accuracy back where large batches lose some", free),
        (larger, "it does so with updates of equal length too", equal),
        (batch, "with a small first batch the loss is calmer", small[0]),
        (batch, f"with a small first batch {better}", small[1]),
        (batch, "with the lower rate alone the loss is calmer", slow[0]),
        (batch, f"with the lower rate alone {better}", slow[1]),
        (batch, "the loss is calmer with the small batch than with the lower rate alone", apart),
    ]
