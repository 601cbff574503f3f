"""A service of gRPC, and calls of it, by the `grpcio` and `protobuf` packages.

    grpc_notes.py serve CERTIFICATE KEY LOG     prints its port, and writes what it gets into LOG, a JSON line each
    grpc_notes.py call TARGET METHOD TEXT...    prints what comes back, a JSON line each

Proxy and CA come from the variables that the package itself reads. The messages have a text at the top and one two
messages deep, between numbers, so that a wrong length around either shows.
"""

import json
import queue
import sys
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
PATIENCE = 30


def message(file, name, fields):
    described = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields, 1):
        added = described.field.add(name=field, number=number, label=FIELD.LABEL_OPTIONAL)
        if isinstance(kind, str):
            added.type, added.type_name = FIELD.TYPE_MESSAGE, f".notes.{kind}"
        else:
            added.type = kind


described = descriptor_pb2.FileDescriptorProto(name="notes.proto", package="notes", syntax="proto3")
message(described, "Contact", [("serial", FIELD.TYPE_FIXED64), ("text", FIELD.TYPE_STRING), ("count", FIELD.TYPE_INT32)])
message(described, "Author", [("contact", "Contact"), ("size", FIELD.TYPE_INT32)])
message(described, "Note", [("text", FIELD.TYPE_STRING), ("author", "Author"), ("number", FIELD.TYPE_INT32)])
Note = message_factory.GetMessages([described], pool=descriptor_pool.DescriptorPool())["notes.Note"]

SERIAL, COUNT, SIZE = 0x0102030405060708, 150, 7


def note(text, number):
    made = Note(text=text, number=number)
    made.author.contact.serial, made.author.contact.text = SERIAL, text
    made.author.contact.count, made.author.size = COUNT, SIZE
    return made


def read(got):
    """What a message says, once all that is not text is as it was sent."""
    contact = got.author.contact
    assert (contact.serial, contact.count, got.author.size) == (SERIAL, COUNT, SIZE), str(got)
    assert contact.text == got.text, str(got)
    return {"text": got.text, "number": got.number}


class Notes(grpc.GenericRpcHandler):
    def __init__(self, log):
        self.log = log

    def note(self, **what):
        self.log.write(json.dumps(what) + "\n")
        self.log.flush()

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        metadata = {key: str(value) for key, value in details.invocation_metadata}
        self.note(method=name, metadata=metadata)
        make = {
            "Say": grpc.unary_unary_rpc_method_handler,
            "Divide": grpc.unary_stream_rpc_method_handler,
            "Gather": grpc.stream_unary_rpc_method_handler,
            "Talk": grpc.stream_stream_rpc_method_handler,
            "Fail": grpc.unary_stream_rpc_method_handler,
        }[name]
        return make(getattr(self, name), Note.FromString, Note.SerializeToString)

    def got(self, request):
        self.note(got=read(request))
        return request

    def Say(self, request, context):
        context.set_trailing_metadata([("notes-end", "fine")])
        return self.got(request)

    def Divide(self, request, context):
        text = self.got(request).text
        for at in range(0, len(text), 3):
            yield note(text[at : at + 3], at)

    def Gather(self, requests, context):
        return note(" / ".join(self.got(request).text for request in requests), 0)

    def Talk(self, requests, context):
        context.send_initial_metadata([("notes-begin", "fine")])
        try:
            for request in requests:
                yield self.got(request)
            self.note(ended=True)
        except Exception:
            self.note(broken=True)
            raise

    def Fail(self, request, context):
        yield self.got(request)
        context.abort(grpc.StatusCode.NOT_FOUND, f"no note of {request.text}")


def serve(certificate, key, log):
    pem = [open(path, "rb").read() for path in (key, certificate)]
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([Notes(open(log, "a"))])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tuple(pem)]))
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def call(target, method, *texts):
    compression = grpc.Compression.Gzip if method.endswith("+gzip") else None
    method = method.removesuffix("+gzip")
    notes = [note(text, number) for number, text in enumerate(texts)]
    print_line = lambda **what: print(json.dumps(what), flush=True)
    with grpc.secure_channel(target, grpc.ssl_channel_credentials()) as channel:
        path, codec = f"/notes.Notes/{method}", (Note.SerializeToString, Note.FromString)
        options = {"timeout": PATIENCE, "compression": compression, "wait_for_ready": False}
        try:
            if method == "Say":
                answer, ended = channel.unary_unary(path, *codec).with_call(notes[0], **options)
                print_line(got=read(answer))
            elif method == "Gather":
                answer, ended = channel.stream_unary(path, *codec).with_call(iter(notes), **options)
                print_line(got=read(answer))
            elif method in ("Divide", "Fail"):
                ended = channel.unary_stream(path, *codec)(notes[0], **options)
                for answer in ended:
                    print_line(got=read(answer))
            elif method == "Talk":
                # Nothing is said before the other end has spoken, and no message before the last one was answered.
                said = queue.Queue()
                ended = channel.stream_stream(path, *codec)(iter(said.get, None), **options)
                print_line(begun=dict(ended.initial_metadata()).get("notes-begin"))
                for one in notes:
                    said.put(one)
                    print_line(got=read(next(ended)))
                said.put(None)
                for answer in ended:
                    print_line(got=read(answer))
            print_line(code=ended.code().name, end=dict(ended.trailing_metadata()).get("notes-end"))
        except grpc.RpcError as error:
            print_line(code=error.code().name, details=error.details())


{"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
