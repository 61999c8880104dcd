#!/usr/bin/env python3
"""Writes players.json, the data set of the quickstart: 3,000 invented players, the same on every run."""
import datetime
import json
import pathlib

PLAYERS = 3000
FIRST = ("Ada", "Amir", "Bela", "Carla", "Chidi", "Dana", "Edgar", "Elif", "Farah", "Goran", "Hana", "Igor", "Ines",
         "Jonas", "Kaya", "Lena", "Luca", "Mara", "Milo", "Nadia", "Nils", "Olga", "Omar", "Pia", "Quentin", "Rosa",
         "Samir", "Sofia", "Tariq", "Uma", "Viktor", "Wanda", "Yuki", "Zoe")
LAST = ("Abel", "Berg", "Castro", "Dahl", "Eriksen", "Fuchs", "García", "Haddad", "Ito", "Jansen", "Kovač", "Lang",
        "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Sato", "Tan", "Ueda", "Vogel", "Weiss", "Young",
        "Zhao")
TEAMS = ("Anchors", "Comets", "Foxes", "Harriers", "Lanterns", "Millers", "Otters", "Pilots", "Ravens", "Tides")
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)


def numbers(seed):
    """A small generator of our own (MMIX's constants), so that no Python version changes the data."""
    while True:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        yield seed >> 33


def player(number, draw):
    seen = START + datetime.timedelta(seconds=next(draw) % (366 * 86400))
    return {
        "id": number,
        "name": "%s %s" % (FIRST[next(draw) % len(FIRST)], LAST[next(draw) % len(LAST)]),
        "score": next(draw) % 10000,
        "team": TEAMS[next(draw) % len(TEAMS)],
        "updated": seen.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def main():
    draw = numbers(seed=2024)
    rows = [json.dumps(player(number, draw), ensure_ascii=False) for number in range(1, PLAYERS + 1)]
    text = "[\n" + ",\n".join(rows) + "\n]\n"
    pathlib.Path(__file__).with_name("players.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
