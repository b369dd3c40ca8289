"""Writes Bach's chorales as MIDI files into a folder, for `cargo run --example music -- --data FOLDER`.

Needs music21 (`pip install music21==10.5.1`), whose corpus has them: the music is in the public domain; what its
encodings may be used for the corpus' own licence says, so none of them is part of this repository.

    python scripts/chorales.py FOLDER
"""

import pathlib
import sys

from music21 import corpus, note, chord, meter, stream, tempo

# Soprano, alto, tenor and bass; with fewer or more it is no chorale of four voices.
VOICES = 4


def bare(part):
    """The notes of a voice without words and ornaments, ties joined, repeats as they are written."""
    voice = stream.Part()
    for element in part.stripTies().flatten().notesAndRests:
        if isinstance(element, (note.Note, chord.Chord)) and element.quarterLength > 0:
            voice.insert(element.offset, note.Note(element.pitches[-1], quarterLength=element.quarterLength))
    return voice


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for path in sorted(corpus.getComposer("bach")):
        if not path.name.startswith("bwv"):
            continue
        score = corpus.parse(path)
        if len(score.parts) != VOICES or score.duration.quarterLength > 400:
            continue
        music = stream.Score([bare(part) for part in score.parts])
        music.parts[0].insert(0, tempo.MetronomeMark(number=100))
        music.parts[0].insert(0, meter.TimeSignature("4/4"))
        # Names that sort as numbers do.
        name = path.stem.replace("bwv", "").replace(".", "_")
        music.write("midi", fp=str(folder / f"bwv_{name:0>8}.mid"))
        written += 1
    print(f"{written} chorales in {folder}")


if __name__ == "__main__":
    main()
