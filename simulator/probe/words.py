"""Words that one token each stands for, for endpoints that take no token ids. Input is a way to count the tokens of a text.

Words are tried in groups: a text of n words that has n tokens has one for each.
"""

from collections.abc import Awaitable, Callable, Sequence

_TEXT = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were all her
she there would their we him been has when who will no more if out so up said what its about than into them can only other time new
some could these two may first then do any like my now over such our man me even most made after also did many off before must well
back through years much where your way down should because long each just state those people too mr how little good world make very
year still see own work men day get here old life both between being under three never know same last another while us might great
go come since against right came take used himself few house use during without again place around however home small found thought
went say part once general high upon school every does got left number until always away something fact water less public put think
almost hand enough far took head yet better set told nothing night end why called find going look asked later knew point next
"""
COMMON = tuple(_TEXT.split())
LEAST = 32
"""Fewer words would make prompts that are alike by chance."""
Count = Callable[[str], Awaitable[int | None]]


async def frame_tokens(count: Count) -> int | None:
    """Tokens that the endpoint puts around a text; None when it cannot be known."""
    short, long = await count(text_of(COMMON[:1] * 8)), await count(text_of(COMMON[:1] * 16))
    return None if short is None or long is None or long - short != 8 else short - 8


async def single_tokens(count: Count, frame: int, words: Sequence[str] = COMMON) -> list[str]:
    """The words that are one token each."""
    if await count(text_of(words)) == frame + len(words):
        return list(words)
    if len(words) == 1:
        return []
    half = len(words) // 2
    return [*await single_tokens(count, frame, words[:half]), *await single_tokens(count, frame, words[half:])]


def text_of(words: Sequence[str]) -> str:
    """A prompt of words."""
    return "".join(f" {word}" for word in words)
