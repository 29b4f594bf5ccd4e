"""Small image layouts, as other programs write them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadstead.oci.digest import Digest
from roadstead.simulator.content import SimulatedImage, SimulatedIndex, descriptor_document
from tests.support.volumes import put


def write_layout(
    root: Path, image: SimulatedImage | SimulatedIndex, annotations: Mapping[str, Any] | None
) -> Path:
    """Write a layout with one entry, which has these annotations."""
    put(root / "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    contents = [image.content]
    for one in image.images if isinstance(image, SimulatedIndex) else (image,):
        contents += [one.content, *(blob.read() for blob in one.blobs)]
    for content in contents:
        put(root / "blobs/sha256" / Digest.of(content).encoded, content)
    entry = descriptor_document(image.descriptor)
    if annotations is not None:
        entry["annotations"] = annotations
    put(root / "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
    return root
