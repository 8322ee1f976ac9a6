# SPDX-License-Identifier: Apache-2.0
"""The live page: what the camera sees, what the model saw of it and said, shown in a browser while the runner runs.

Nothing is imported here: :mod:`device.live_page.address` reads the command's arguments without the server's packages,
:class:`device.live_page.page.LivePage` is the page.
"""
