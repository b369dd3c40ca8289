"""Writes the files of `examples/tests/fixtures/` as other tools write them: sox, ffmpeg, and Python's csv and gzip.

Needs sox and ffmpeg (Debian: `apt-get install sox ffmpeg`). The tests of the examples read what it wrote:

sound/  one rising tone of 0.15 s at 8 kHz: `reference.wav` in 16 bits, and the same in other formats
csv/    one series of 60 numbers in three dialects
idx/    260 images of 8 × 8 of 13 letters labelled 1, 3, 5 … 25, as EMNIST labels its letters from 1, and their names
"""

import csv
import gzip
import math
import pathlib
import struct
import subprocess

OUT = pathlib.Path(__file__).parent.parent / "examples" / "tests" / "fixtures"


def run(*command, to=None, given=None):
    """Runs a command; its standard output goes through a pipe, so that it cannot write a length afterwards."""
    done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, input=given)
    if to is not None:
        to.write_bytes(done.stdout)


def sound(folder):
    folder.mkdir(parents=True, exist_ok=True)
    reference = folder / "reference.wav"
    tone = ["synth", "0.15", "sine", "400-1800", "gain", "-6", "fade", "0.01"]
    run("sox", "-D", "-n", "-r", 8000, "-c", 1, "-b", 16, reference, *tone)

    def sox(name, *how):
        run("sox", "-D", reference, *how, folder / name)

    def ffmpeg(name, *how, to=None):
        bare = ["ffmpeg", "-v", "error", "-y", "-i", reference, "-map_metadata", -1, "-fflags", "+bitexact", *how]
        run(*bare, *(["-f", "wav", "-"] if to else [folder / name]), to=to)

    raw = reference.read_bytes()[44:]
    how = ["-t", "raw", "-r", 8000, "-c", 1, "-e", "signed", "-b", 16, "-"]
    run("sox", "-D", *how, "-t", "wav", "-", to=folder / "pipe_sox.wav", given=raw)
    ffmpeg("", to=folder / "pipe_ffmpeg.wav")
    sox("float64.wav", "-e", "floating-point", "-b", 64)
    sox("float32.wav", "-e", "floating-point", "-b", 32)
    sox("unsigned8.wav", "-b", 8)
    sox("signed24.wav", "-b", 24)
    sox("a_law.wav", "-e", "a-law")
    sox("mu_law.wav", "-e", "mu-law")
    sox("ima_adpcm.wav", "-e", "ima-adpcm")
    sox("gsm.wav", "-e", "gsm-full-rate")
    ffmpeg("stereo_44100.wav", "-ac", 2, "-ar", 44100, "-c:a", "pcm_s16le")
    ffmpeg("mono_16000.wav", "-ar", 16000, "-c:a", "pcm_s16le")

    # No tool at hand writes the next two: chunks as Microsoft's documentation has them.
    whole = reference.read_bytes()
    at = whole.index(b"data")
    samples = whole[at + 8 :]

    def wave(name, *chunks):
        body = b"".join(
            kind + struct.pack("<I", len(chunk)) + chunk + b"\0" * (len(chunk) % 2) for kind, chunk in chunks
        )
        (folder / name).write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)

    pcm = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    wave("odd_list.wav", (b"fmt ", pcm), (b"LIST", b"INFOISFT\x05\0\0\0odd!\0"), (b"data", samples))
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    extensible = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 8000, 32000, 4, 32, 22, 24, 4) + guid
    # The 24 valid bits stand high in their 32.
    high = b"".join(b"\0\0" + samples[i : i + 2] for i in range(0, len(samples), 2))
    wave("valid_24_of_32.wav", (b"fmt ", extensible), (b"data", high))


def tables(folder):
    folder.mkdir(parents=True, exist_ok=True)
    level = [round(20 + 8 * math.sin(i / 2.1) + 3 * math.sin(i * i), 3) for i in range(60)]
    for name, encoding, dialect, comma in [
        ("plain.csv", "utf-8", csv.excel, False),
        ("semicolon.csv", "utf-8-sig", type("semicolon", (csv.excel,), {"delimiter": ";"}), True),
        ("tab.csv", "utf-8", csv.excel_tab, False),
    ]:
        with open(folder / name, "w", encoding=encoding, newline="") as file:
            rows = csv.writer(file, dialect)
            rows.writerow(["day", "level"])
            for day, value in enumerate(level):
                rows.writerow([day, str(value).replace(".", ",") if comma else value])


def idx(folder):
    folder.mkdir(parents=True, exist_ok=True)
    labels = [1 + 2 * (i % 13) for i in range(260)]
    # Each quarter is bright where its bit of the letter's number is 1.
    pixel = lambda i, y, x: 220 if (i % 13) >> (y // 4 * 2 + x // 4) & 1 else (i + y * x) % 30
    pixels = bytes(pixel(i, y, x) for i in range(260) for y in range(8) for x in range(8))
    for name, header, body in [
        ("emnist-letters-train-images-idx3-ubyte.gz", struct.pack(">IIII", 0x803, 260, 8, 8), pixels),
        ("emnist-letters-train-labels-idx1-ubyte.gz", struct.pack(">II", 0x801, 260), bytes(labels)),
    ]:
        (folder / name).write_bytes(gzip.compress(header + body, mtime=0))


sound(OUT / "sound")
tables(OUT / "csv")
idx(OUT / "idx")
