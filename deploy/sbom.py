"""Writes the bill of materials of a release, a CycloneDX file in dist/: `make sbom`.

It names every package of the product's locks with its version, licence and the hashes of its files,
and which package needs which. It is made from the locks alone and holds no time and no random
number, so the same locks make the same bytes on every machine.
"""

from __future__ import annotations

import sys
import uuid

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from deploy.locks import (
    PRODUCT,
    PRODUCT_LOCKS,
    ROOT,
    LockedPackage,
    product_packages,
    read_licences,
)
from shared.runtime.version import VERSION

LICENCE = LicenseFactory().make_from_string


def component_of(package: LockedPackage) -> Component:
    """Return `package` as a component: optional when only an extra of the product needs it. The
    hashes are those of all files of the version, of which each machine installs one.
    """
    address = PackageURL("pypi", name=package.name, version=package.version)
    named = {"condition": package.condition, "extra": package.extra}
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=str(address),
        purl=address,
        scope=ComponentScope.OPTIONAL if package.extra else ComponentScope.REQUIRED,
        description=read_licences().remarks.get(package.name),
        licenses=[LICENCE(read_licences().packages[package.name])],
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(str(address)),
                comment="the files of this version that may be installed",
                hashes=[
                    HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.hashes
                ],
            )
        ],
        properties=[
            Property(name=f"ccproxy:{name}", value=value) for name, value in named.items() if value
        ],
    )


def bill_of_materials() -> Bom:
    """Return the bill of this version: the product, the packages of its locks, and the needs of
    each.
    """
    locks = "".join((ROOT / lock).read_text() for lock in PRODUCT_LOCKS)
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCT} {VERSION}\n{locks}"))
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the library's own reproducible way
    bom.metadata.tools.components.add(this_component())
    product = Component(
        type=ComponentType.APPLICATION,
        name=PRODUCT,
        version=VERSION,
        bom_ref=PRODUCT,
        licenses=[LICENCE("MIT")],
    )
    bom.metadata.component = product
    packages = product_packages()
    components = {name: component_of(package) for name, package in packages.items()}
    for component in components.values():
        bom.components.add(component)
    for name, component in {PRODUCT: product, **components}.items():
        needed = [each.name for each in packages.values() if name in each.brought_by]
        bom.register_dependency(component, [components[each] for each in needed])
    return bom


def main() -> None:
    text = JsonV1Dot6(bill_of_materials()).output_as_string(indent=2) + "\n"
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        sys.exit(f"The bill of materials does not keep the CycloneDX schema: {wrong}")
    to = ROOT / f"dist/{PRODUCT}-{VERSION}.cdx.json"
    to.parent.mkdir(exist_ok=True)
    to.write_text(text)
    sys.stdout.write(f"{to.relative_to(ROOT)}: {len(product_packages())} packages\n")


if __name__ == "__main__":
    main()
