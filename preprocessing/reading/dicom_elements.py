"""Read single elements of a DICOM file, no more strictly than necessary.

Archives contain elements that break the rules of their value representation (DICOM PS3.5, 6.2). If
the meaning is clear, the value is read and noted. If not, the element is rejected by name, as
ignoring it would silently change every pixel.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scangan.core.counted import counted
from scangan.core.errors import Rejected
from scangan.core.printable import quoted

if TYPE_CHECKING:
    from pydicom import Dataset

LARGEST = 2**32  # of whole numbers: DICOM stores none of more bits in the elements that are read
CORRECT = "correct it, or leave the file out with --exclude"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
CONVERT = "convert it to MONOCHROME2 or RGB"
_TEXT = ("DS", "IS")  # numbers written as text


class UnreadableElement(Rejected):
    """An element exists but cannot be read; `fact` is the reason without the advice."""

    def __init__(self, fact: str, advice: str = CORRECT) -> None:
        super().__init__(f"{fact}; {advice}")
        self.fact, self.advice = fact, advice

    def __reduce__(self) -> tuple[type["UnreadableElement"], tuple[str, str]]:
        """Pickle the fact and the advice apart, as they are given."""
        return type(self), (self.fact, self.advice)


class Elements:
    """The elements of one file. Harmless oddities are noted, once each.

    Parameters
    ----------
    dataset : pydicom.Dataset
        The dataset of the file. Methods with an `item` read from that item of a sequence instead.
    """

    def __init__(self, dataset: "Dataset") -> None:
        self.dataset = dataset
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes so far, in order."""
        return tuple(self._notes)

    def note(self, text: str) -> None:
        """Add a note about this file."""
        self._notes[text] = None

    def numbers(
        self, keyword: str, item: "Dataset | None" = None, advice: str = CORRECT
    ) -> tuple[float, ...]:
        """Return all values of an element; none if it is missing or empty.

        A comma in a number is read as a decimal point, and noted. Before three digits, it may as well
        separate thousands.

        Raises
        ------
        UnreadableElement
            A value is not a finite number.
        """
        found = []
        for value in self._values(keyword, item, advice):
            text = str(value).strip(" \0\t\r\n")
            pointed = text.replace(",", ".") if "." not in text else text
            if _THOUSANDS.fullmatch(text):
                fact = (
                    f"{named(keyword)} is {quoted(_stripped(value))}: a decimal comma, or thousands"
                )
                raise UnreadableElement(fact, advice)
            if not _NUMBER.fullmatch(pointed) or not abs(float(pointed)) < float("inf"):
                raise UnreadableElement(
                    f"{named(keyword)} is {quoted(_stripped(value))}, not a number", advice
                )
            if pointed != text:
                self.note(
                    f"{named(keyword)} is {quoted(_stripped(value))}: the comma is its decimal point"
                )
            found.append(float(pointed))
        return tuple(found)

    def number(
        self, keyword: str, item: "Dataset | None" = None, advice: str = CORRECT
    ) -> float | None:
        """Return the first value of an element; None if it is missing or empty."""
        return next(iter(self.numbers(keyword, item, advice)), None)

    def whole(self, keyword: str, item: "Dataset | None" = None) -> int | None:
        """Return the first value of an element as a whole number; None if it is missing or empty."""
        value = self.number(keyword, item)
        if value is not None and value % 1:
            raise UnreadableElement(f"{named(keyword)} is {value:g}, not a whole number")
        if value is not None and abs(value) > LARGEST:
            raise UnreadableElement(f"{named(keyword)} is {value:g}, which is too large")
        return None if value is None else int(value)

    def word(self, keyword: str, item: "Dataset | None" = None) -> str:
        """Return the first value of a text element, in capitals; empty if it is missing."""
        values = self._values(keyword, item, CORRECT)
        return str(values[0]).strip(" \0").upper() if values else ""

    def words(self, keyword: str) -> list[str]:
        """Return all values of a text element, in capitals."""
        return [str(value).strip(" \0").upper() for value in self._values(keyword, None, CORRECT)]

    def items(self, keyword: str, item: "Dataset | None" = None) -> "Sequence[Dataset]":
        """Return the items of a sequence; none if it is missing."""
        from pydicom import Sequence as DicomSequence

        found = self._value(keyword, item, CORRECT)
        if found is not None and not isinstance(found, DicomSequence):
            raise UnreadableElement(f"{named(keyword)} is not a sequence")
        return found or ()

    def macro(self, frame: int, name: str) -> "Dataset | None":
        """Return a frame's item (C.7.6.16): its own or the shared one; None if the file itself applies."""
        per_frame = self.items("PerFrameFunctionalGroupsSequence")
        if per_frame and frame >= len(per_frame):
            raise UnreadableElement(
                f"{named('PerFrameFunctionalGroupsSequence')} has no entry for frame {frame + 1}: it has "
                f"{counted(len(per_frame), 'item')}"
            )
        for groups, number in (
            (per_frame, frame),
            (self.items("SharedFunctionalGroupsSequence"), 0),
        ):
            if number < len(groups) and (found := self.items(name, groups[number])):
                return found[0]
        return None

    def _values(self, keyword: str, item: "Dataset | None", advice: str) -> list[Any]:
        """Return the values of an element that are not empty."""
        value = self._value(keyword, item, advice)
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace").split("\\")
        several = isinstance(value, Sequence) and not isinstance(value, str)
        values = list(value) if several else [value]
        return [each for each in values if each is not None and str(each).strip(" \0")]

    def _value(self, keyword: str, item: "Dataset | None", advice: str) -> Any:
        """Return the content of an element; numbers written as text as bytes, as pydicom could raise."""
        from pydicom.datadict import dictionary_VR
        from pydicom.dataelem import RawDataElement

        dataset = self.dataset if item is None else item
        if keyword not in dataset:
            return None
        element: Any = dataset.get_item(keyword)
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
            usual = dictionary_VR(element.tag)
            if (usual if element.VR in (None, "UN") else element.VR) in _TEXT:
                return element.value
        try:
            return dataset[keyword].value
        except Exception as error:  # the bytes do not match the value representation
            raise UnreadableElement(f"{named(keyword)} cannot be read", advice) from error


def named(keyword: str) -> str:
    """Return an element's name and number: ``RescaleSlope (0028,1053)``."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04x},{tag & 0xFFFF:04x})"


def _stripped(value: Any) -> str:
    return str(value).strip(" \0")
