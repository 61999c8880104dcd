"""Small accidents to bytes."""


def damage(rand, data, accidents=(1, 1, 3, 10)):
    """Changes, cuts, inserts or repeats a few bytes."""
    data = bytearray(data)
    for _ in range(rand.choice(accidents)):
        at = rand.randrange(len(data) + 1)
        kind = rand.randrange(5)
        if kind < 2 and at < len(data):
            data[at] = rand.randrange(256)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            data[at:at] = rand.randbytes(rand.randint(1, 8))
        else:
            data += data[at:at + 100]
    return bytes(data)
