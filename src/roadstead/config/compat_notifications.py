"""The rows of ``notifications``."""

from roadstead.config.key import Key, Status, family

_WORKS = Status.WORKS

NOTIFICATIONS = (
    Key(
        "notifications.events",
        Status.ACCEPTED,
        "only says whether pushed manifests list what they refer to",
        field="EVENTCONFIG",
    ),
    *family("notifications.events", Status.ACCEPTED, "includereferences=false"),
    Key("notifications.endpoints[].name", _WORKS, "in metrics and logs"),
    Key("notifications.endpoints[].disabled", _WORKS, "sends nothing to it"),
    Key("notifications.endpoints[].url", _WORKS, "where each event is posted to"),
    Key("notifications.endpoints[].headers.*[]", _WORKS, "sent along; masked in all output"),
    Key("notifications.endpoints[].timeout", _WORKS, "for one try; 0 is 1s"),
    Key(
        "notifications.endpoints[].threshold",
        _WORKS,
        "after so many failures in a row each try waits for `backoff`",
    ),
    Key("notifications.endpoints[].backoff", _WORKS, "how long; 0 is 1s"),
    Key("notifications.endpoints[].ignoredmediatypes[]", _WORKS, "the older name of the next"),
    Key("notifications.endpoints[].ignore.mediatypes[]", _WORKS, "not told of these"),
    Key("notifications.endpoints[].ignore.actions[]", _WORKS, "not told of `pull` or `delete`"),
    Key(
        "notifications.endpoints[].envelope",
        _WORKS,
        "`v1`, the content type of registry 2, or `v2`, that of registry 3",
    ),
)
