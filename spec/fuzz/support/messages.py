"""Random protobuf messages: well formed, odd in what they say, or damaged."""
from damage import damage

DAMAGED = 0.3
ABSENT = 0.1
NUMBERS = [0, 0, 1, 1, 2, 5, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
LENGTHS = [0, 1, 10, 100, 4096, 4097, 70000]
LENGTHS_OF_MANY = [0, 1, 10]
REPEATED = [0, 0, 1, 1, 2, 8, 9, 50, 300]
REPEATED_HUGE = [4096, 4097, 10000, 10001]
HUGE = 0.002


class Generator:
    """hints: field name to a list of values, of which one is taken; other fields get numbers and bytes that are awkward."""

    def __init__(self, rand, hints):
        self.rand, self.hints, self.lengths = rand, hints, LENGTHS

    def number(self, field):
        value = self.rand.choice(NUMBERS)
        signed = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
        bits = 32 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32, field.CPPTYPE_ENUM) else 64
        value %= 1 << bits
        if field.cpp_type == field.CPPTYPE_ENUM:
            return value % 20
        return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value

    def value(self, field):
        hints = self.hints.get(field.name)
        if hints:
            return self.rand.choice(hints)
        if field.cpp_type == field.CPPTYPE_BOOL:
            return self.rand.random() < 0.3
        if field.type == field.TYPE_STRING:
            return self.rand.choice(["", "x", "\x1b[2J", "a\nb", "x" * 300, "\u00e9"])
        if field.type == field.TYPE_BYTES:
            return self.rand.randbytes(self.rand.choice(self.lengths))
        return self.number(field)

    def repeat(self, field, target):
        count = self.rand.choice(REPEATED_HUGE if self.rand.random() < HUGE else REPEATED)
        self.lengths = LENGTHS if count < 50 else LENGTHS_OF_MANY
        for _ in range(count):
            if field.cpp_type == field.CPPTYPE_MESSAGE:
                self.fill(target.add())
            else:
                target.append(self.value(field))
        self.lengths = LENGTHS

    def fill(self, message):
        for field in message.DESCRIPTOR.fields:
            if self.rand.random() < ABSENT:
                continue
            if field.label == field.LABEL_REPEATED:
                self.repeat(field, getattr(message, field.name))
            elif field.cpp_type == field.CPPTYPE_MESSAGE:
                self.fill(getattr(message, field.name))
            else:
                setattr(message, field.name, self.value(field))
        return message

    def bytes_of(self, kind):
        """A message of that class, as it goes on the wire."""
        data = self.fill(kind()).SerializeToString()
        return damage(self.rand, data) if self.rand.random() < DAMAGED else data
