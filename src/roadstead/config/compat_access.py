"""The compatibility table: who may pull (``auth`` is distribution's, ``access`` is ours)."""

from roadstead.config.key import Key, Status

_WORKS = Status.WORKS

AUTH = (
    Key("auth.none", Status.ACCEPTED, "no credentials are asked for; `access` holds all the same"),
    Key("auth.silly.realm", _WORKS, "any Authorization header is let in: for development only"),
    Key("auth.silly.service", _WORKS, "named in the challenge; required"),
    Key("auth.htpasswd.realm", _WORKS, "what clients show to their users; required"),
    Key(
        "auth.htpasswd.path",
        _WORKS,
        "users with bcrypt hashes, read again when it changes; required, and never made up",
    ),
    Key("auth.token.realm", _WORKS, "URL of the token server; required without `autoredirect`"),
    Key("auth.token.service", _WORKS, "the audience of tokens; required"),
    Key("auth.token.issuer", _WORKS, "who must have issued them; required"),
    Key(
        "auth.token.rootcertbundle",
        _WORKS,
        "PEM certificates whose keys sign tokens, or vouch for those that do",
    ),
    Key("auth.token.jwks", _WORKS, "JSON web keys that sign tokens (3.x); one of the two"),
    Key("auth.token.signingalgorithms[]", _WORKS, "which signatures count (3.x)"),
    Key("auth.token.autoredirect", _WORKS, "the realm is https, the Host header and a path"),
    Key("auth.token.autoredirectpath", _WORKS, "that path (3.x)"),
)

ACCESS = (
    Key("access.allownetworks[]", _WORKS, "with any, only clients in these networks are served"),
    Key("access.denynetworks[]", _WORKS, "clients in these networks are never served"),
    Key(
        "access.trustedproxies[]",
        _WORKS,
        "networks of proxies whose `X-Forwarded-For` is believed; `unix` for the socket",
    ),
    Key("access.headers[].name", _WORKS, "a header that clients add to every request"),
    Key("access.headers[].secret", _WORKS, "the secret that it must have"),
    Key("access.headers[].identity", _WORKS, "who shows it is `header:<identity>`"),
    Key("access.groups.*[]", _WORKS, "principals that are also `group:<name>`"),
    Key("access.admins[]", _WORKS, "principals that may steer the mirror; without any, nobody"),
    Key(
        "access.checkupstream[]",
        _WORKS,
        "upstreams, by configured name, that are asked with the caller's own credentials whether "
        "this caller may read what is held; not together with `auth`",
    ),
    Key("access.rules[].allow[]", _WORKS, "principals that this rule lets pull"),
    Key("access.rules[].deny[]", _WORKS, "principals that it refuses; a rule has one of the two"),
    Key("access.rules[].networks[]", _WORKS, "only for clients in these networks"),
    Key("access.rules[].upstreams[]", _WORKS, "only for these upstreams, by configured name"),
    Key("access.rules[].repositories[]", _WORKS, "only for these, by upstream's own names"),
)
