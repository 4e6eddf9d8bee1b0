"""A client that knows no .proto: it asks the socket what there is, fetches the contracts, and calls by them."""
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from harness.paths import SLOW
from harness.protos import reflection, reflection_grpc

VERSIONS = ["v1", "v1alpha"]

# ---- Fixture


class Asking:
    """Asks one question after another on one stream."""

    def __init__(self, daemon, version):
        self.messages = reflection[version]
        self.client = reflection_grpc[version].ServerReflectionStub(daemon.channel())

    def ask(self, *questions):
        requests = [self.messages.ServerReflectionRequest(**question) for question in questions]
        answers = list(self.client.ServerReflectionInfo(iter(requests), timeout=20 * SLOW))
        assert [answer.original_request for answer in answers] == requests
        return answers

    def files(self, **question):
        answer, = self.ask(question)
        assert answer.HasField("file_descriptor_response"), answer
        return [descriptor_pb2.FileDescriptorProto.FromString(file)
                for file in answer.file_descriptor_response.file_descriptor_proto]


@pytest.fixture(params=VERSIONS)
def asking(daemon, request):
    return Asking(daemon, request.param)


# ---- Helpers


def collect(asking, symbol):
    """A descriptor pool with the file of the symbol and all that it needs, each fetched by name."""
    pool = descriptor_pool.DescriptorPool()
    found = {file.name: file for file in asking.files(file_containing_symbol=symbol)}
    wanted = [name for file in found.values() for name in file.dependency]
    while wanted:
        name = wanted.pop()
        if name not in found:
            for file in asking.files(file_by_filename=name):
                found[file.name] = file
                wanted += file.dependency
    added = set()

    def add(file):
        if file.name not in added:
            added.add(file.name)
            for name in file.dependency:
                add(found[name])
            pool.Add(file)

    for file in found.values():
        add(file)
    return pool


# ---- Tests


def test_all_mounted_services_are_listed(asking):
    answer, = asking.ask({"list_services": ""})
    assert {service.name for service in answer.list_services_response.service} == {
        "ipam.v1.IPAM", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection"}


def test_every_service_can_be_described(asking):
    answer, = asking.ask({"list_services": ""})
    for service in answer.list_services_response.service:
        assert collect(asking, service.name).FindServiceByName(service.name).methods


@pytest.mark.parametrize("symbol", [
    "ipam.v1.IPAM", "ipam.v1.IPAM.Allocate", "ipam.v1.PoolSpec", "ipam.v1.PoolSpec.cidrs", "ipam.v1.Family", "ipam.v1.DUAL"])
def test_file_is_found_by_any_symbol_in_it(asking, symbol):
    assert asking.files(file_containing_symbol=symbol)[0].name == "ipam.proto"


def test_call_made_from_reflected_contracts_alone(daemon, asking):
    pool = collect(asking, "ipam.v1.IPAM")
    method = pool.FindServiceByName("ipam.v1.IPAM").FindMethodByName("ApplyPool")
    factory = message_factory.MessageFactory(pool)
    request_type, reply_type = factory.GetPrototype(method.input_type), factory.GetPrototype(method.output_type)
    request = request_type()
    request.pool.name = "seen"
    request.pool.cidrs.append("10.0.0.0/28")
    call = daemon.channel().unary_unary("/ipam.v1.IPAM/ApplyPool", request_serializer=request_type.SerializeToString,
                                        response_deserializer=reply_type.FromString)
    assert call(request, timeout=10 * SLOW).pool.counts.capacity == 14


def test_unknown_names_are_answered_as_errors_and_the_stream_goes_on(asking):
    answers = asking.ask({"file_containing_symbol": "no.such"}, {"file_by_filename": "no/such.proto"},
                         {"all_extension_numbers_of_type": "no.such"}, {"list_services": ""})
    assert [answer.error_response.error_code for answer in answers[:3]] == [5, 5, 5]
    assert answers[3].list_services_response.service


def test_extensions_of_a_message_without_any_are_none(asking):
    answer, = asking.ask({"all_extension_numbers_of_type": "ipam.v1.Pool"})
    assert answer.all_extension_numbers_response.base_type_name == "ipam.v1.Pool"
    assert not answer.all_extension_numbers_response.extension_number


def test_many_questions_on_one_stream(asking):
    answers = asking.ask(*[{"file_containing_symbol": "ipam.v1.IPAM"}] * 200)
    assert len({answer.file_descriptor_response.SerializeToString() for answer in answers}) == 1
