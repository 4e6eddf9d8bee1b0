"""Errors as a gRPC client sees them, taken apart."""
import contextlib

import grpc

from harness.protos import error_details, rpc_status

DOMAIN = "ipam.novaedge.io"


class Refusal:
    """Filled when the block that `refused` guards has ended."""
    code = reason = message = metadata = None

    def fill(self, error):
        self.code = error.code().name
        self.message = error.details()
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin")
        self.reason, self.metadata = "", {}
        if details:
            status = rpc_status.Status.FromString(details)
            assert (status.code, status.message) == (error.code().value[0], error.details())
            info = error_details.ErrorInfo()
            assert status.details[0].Unpack(info) and info.domain == DOMAIN
            self.reason, self.metadata = info.reason, dict(info.metadata)


@contextlib.contextmanager
def refused(reason, code=None):
    """The block must end in a gRPC error of this reason (and status)."""
    refusal = Refusal()
    try:
        yield refusal
    except grpc.RpcError as error:
        refusal.fill(error)
    else:
        raise AssertionError(f"was not refused, {reason} expected")
    assert refusal.reason == reason, f"{refusal.reason}, not {reason}: {refusal.code} {refusal.message}"
    assert code in (None, refusal.code), f"{refusal.code}, not {code}: {refusal.message}"
