# SPDX-License-Identifier: Apache-2.0
"""``litesight sign``: sign a bundle, or make the keys for it."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Sign a bundle with an ed25519 key, or make a pair of keys."

EPILOG = """\
The signature covers manifest.json byte for byte, and with it every file. A runner that is told to demand signatures
refuses whatever none of its keys has signed. The private key never leaves this machine; the public one goes to the Pi.

examples:
  litesight sign --new-key release                release.pem (keep it) and release.pub (copy it)
  litesight sign cells --key release.pem          writes cells/manifest.sig
  litesight sign cells --check release.pub        is it signed with that key?"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE", help="a bundle directory")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--key", type=Path, metavar="NAME.pem", help="the private key to sign with")
    what.add_argument("--check", type=Path, metavar="NAME.pub", help="check the signature with this public key")
    what.add_argument("--new-key", type=Path, metavar="NAME", help="make NAME.pem and NAME.pub")


def run(args: argparse.Namespace) -> int:
    """Sign, check or make keys."""
    from device.errors import UsageError
    from device.signature import fingerprint, load_signed, new_key, read_public_key, sign

    if args.new_key is not None:
        if args.bundle is not None:
            raise UsageError("--new-key takes no bundle", hint="sign it in a second call, with --key")
        private, public = new_key(args.new_key)
        print(f"{private}  private: whoever has it can sign; keep it here, and a copy in a safe place")
        print(f"{public}  public: copy it to the machines that demand signatures")
        return 0
    if args.bundle is None:
        raise UsageError("expected a bundle, found none", hint="litesight sign BUNDLE --key NAME.pem")
    if args.check is not None:
        load_signed(args.bundle, [args.check])
        print(f"{args.bundle} is whole and signed with the key {fingerprint(read_public_key(args.check))}")
        return 0
    print(f"signed {args.bundle} with the key {fingerprint(sign(args.bundle, args.key))}")
    return 0
