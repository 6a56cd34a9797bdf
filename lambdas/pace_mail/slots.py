"""At most five mails in any minute: five slots in the table, each at rest for more than a minute once it is taken."""

import time

from lambdas import table

MAILS_PER_MINUTE = 5
REST_SECONDS = 60 + 5
"""How long a taken slot rests: a minute, and what publishing may take at most, from the taking on."""

_KEYS = [("mail", f"slot/{number}") for number in range(MAILS_PER_MINUTE)]


def seconds_until_free() -> int:
    """How long until some slot is free; 0 where one is."""
    found = table.get_many(_KEYS)
    if len(found) < len(_KEYS):
        return 0
    return max(0, min(int(item["free_at"]) for item in found.values()) - int(time.time()))


def take() -> bool:
    """Take a slot, where one is free, from everybody else; whether it was."""
    found, now = table.get_many(_KEYS), int(time.time())
    for pk, sk in _KEYS:
        taken: table.Item = {"pk": pk, "sk": sk, "free_at": now + REST_SECONDS}
        known = found.get((pk, sk))
        if known is None:
            if table.put_new(taken):
                return True
        elif int(known["free_at"]) <= now and table.put_over(taken, {"free_at": known["free_at"]}):
            return True
    return False
