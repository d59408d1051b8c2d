"""Python's grpcio as a peer: a server and a client for every module, driven by a script (see ../README.md).

The stubs are made from packages/plugin/proto by interop/install.sh, one file a module.
"""

import argparse
import importlib
import json
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
from google.protobuf import json_format

MADE = Path(__file__).parent / "bin" / "stubs"


def say(**fields):
    print(json.dumps(fields), flush=True)


def to_json(message):
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def methods():
    """Every method: its path, service, name, request class, and the module that holds its stub."""
    sys.path.insert(0, str(MADE))
    for file in sorted(MADE.glob("*_pb2_grpc.py")):
        messages = importlib.import_module(file.name.removesuffix("_grpc.py"))
        stubs = importlib.import_module(file.stem)
        for service in messages.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", service, method, messages, stubs


def serve(options):
    script = json.loads(Path(options.script).read_text())

    def answer(path, reply_type):
        def handle(request, context):
            if dict(context.invocation_metadata()).get("token", "") != options.token:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")
            say(method=path, request=to_json(request))
            step = script[path].pop(0)
            if step.get("hang"):
                gone = threading.Event()
                # False: the caller has gone already, and nobody will be told any more.
                if context.add_callback(gone.set):
                    gone.wait()
                say(method=path, gone=True)
                return reply_type()
            context.set_trailing_metadata(tuple(step.get("trailers", {}).items()))
            if step.get("code"):
                code = next(one for one in grpc.StatusCode if one.value[0] == step["code"])
                context.abort(code, step.get("message", ""))
            return json_format.ParseDict(step["reply"], reply_type())

        return handle

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    for path, service, method, messages, stubs in methods():
        handler = grpc.unary_unary_rpc_method_handler(
            answer(path, getattr(messages, method.output_type.name)),
            request_deserializer=getattr(messages, method.input_type.name).FromString,
            response_serializer=getattr(messages, method.output_type.name).SerializeToString,
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service.full_name, {method.name: handler}),)
        )
    if options.cert:
        roots = Path(options.client_ca).read_bytes() if options.client_ca else None
        pair = (Path(options.key).read_bytes(), Path(options.cert).read_bytes())
        credentials = grpc.ssl_server_credentials([pair], roots, roots is not None)
        port = server.add_secure_port(options.listen, credentials)
    else:
        port = server.add_insecure_port(options.listen)
    server.start()
    say(listening=options.listen if options.listen.startswith("unix:") else f"127.0.0.1:{port}")
    # Ends with whoever started it and holds its standard input.
    sys.stdin.read(1)
    server.stop(0)


def ask(options):
    compression = grpc.Compression.Gzip if options.gzip else None
    if options.ca:
        credentials = grpc.ssl_channel_credentials(
            Path(options.ca).read_bytes(),
            Path(options.key).read_bytes() if options.key else None,
            Path(options.cert).read_bytes() if options.cert else None,
        )
        channel = grpc.secure_channel(options.target, credentials, compression=compression)
    else:
        channel = grpc.insecure_channel(options.target, compression=compression)

    known = {path: rest for path, *rest in methods()}
    for call in json.loads(Path(options.script).read_text()):
        service, method, messages, stubs = known[call["method"]]
        stub = getattr(getattr(stubs, service.name + "Stub")(channel), method.name)
        request = json_format.ParseDict(call["request"], getattr(messages, method.input_type.name)())
        metadata = (("token", call["token"]),) if call.get("token") else ()
        result = {"method": call["method"]}
        try:
            reply, done = stub.with_call(request, timeout=call.get("timeoutMs", 10_000) / 1000, metadata=metadata)
            result["reply"] = to_json(reply)
        except grpc.RpcError as error:
            done = error
            result["code"] = error.code().value[0]
            result["message"] = error.details()
        trailers = {}
        for key, value in done.trailing_metadata() or ():
            trailers.setdefault(key, []).append(value if isinstance(value, str) else value.hex())
        say(trailers=trailers, **result)
    channel.close()


parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("-script", required=True)
parser.add_argument("-listen", default="127.0.0.1:0")
parser.add_argument("-target")
parser.add_argument("-cert")
parser.add_argument("-key")
parser.add_argument("-ca")
parser.add_argument("-client-ca", dest="client_ca")
parser.add_argument("-token", default="")
parser.add_argument("-gzip", action="store_true")
arguments = parser.parse_args()
serve(arguments) if arguments.role == "server" else ask(arguments)
