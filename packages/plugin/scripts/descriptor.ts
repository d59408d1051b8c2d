import type { Field, MessageType, Scalar } from '../src/wire/proto.ts';

/** The part of google/protobuf/descriptor.proto that the generator reads. Enums are read as their numbers. */
export interface FileDescriptor {
  readonly name: string;
  readonly package: string;
  readonly messageType: readonly Descriptor[];
  readonly service: readonly ServiceDescriptor[];
  readonly sourceCodeInfo: { readonly location: readonly Location[] } | undefined;
  readonly syntax: string;
}

/** A message as its .proto declares it. */
export interface Descriptor {
  readonly name: string;
  readonly field: readonly FieldDescriptor[];
  readonly nestedType: readonly Descriptor[];
}

/** One field of a message. */
export interface FieldDescriptor {
  readonly name: string;
  readonly number: number;
  /** 1: optional, which is plain in proto3; 3: repeated. */
  readonly label: number;
  readonly type: number;
  /** With a leading dot, for messages. */
  readonly typeName: string;
  readonly jsonName: string;
  readonly proto3Optional: boolean;
}

/** A service with its methods. */
export interface ServiceDescriptor {
  readonly name: string;
  readonly method: readonly {
    readonly name: string;
    readonly inputType: string;
    readonly outputType: string;
    readonly clientStreaming: boolean;
    readonly serverStreaming: boolean;
  }[];
}

/** Where in the file a declaration stands, and the comments around it. */
export interface Location {
  /** Field numbers and indexes from the file down to the declaration: `[4, 0, 2, 1]` is field 1 of message 0. */
  readonly path: readonly number[];
  readonly leadingComments: string;
  readonly trailingComments: string;
  readonly leadingDetachedComments: readonly string[];
}

const one = (number: number, name: string, type: Scalar | MessageType<object>): Field => {
  return { number, name, type, repeated: false };
};
const many = (number: number, name: string, type: Scalar | MessageType<object>): Field => {
  return { number, name, type, repeated: true };
};
const table = <T extends object>(name: string, fields: readonly Field[]): MessageType<T> => {
  return { typeName: `google.protobuf.${name}`, fields };
};

const fieldDescriptor = table<FieldDescriptor>('FieldDescriptorProto', [
  one(1, 'name', 'string'),
  one(3, 'number', 'int32'),
  one(4, 'label', 'int32'),
  one(5, 'type', 'int32'),
  one(6, 'typeName', 'string'),
  one(10, 'jsonName', 'string'),
  one(17, 'proto3Optional', 'bool'),
]);

const descriptorFields: Field[] = [one(1, 'name', 'string'), many(2, 'field', fieldDescriptor)];
const descriptor = table<Descriptor>('DescriptorProto', descriptorFields);
descriptorFields.push(many(3, 'nestedType', descriptor));

const method = table('MethodDescriptorProto', [
  one(1, 'name', 'string'),
  one(2, 'inputType', 'string'),
  one(3, 'outputType', 'string'),
  one(5, 'clientStreaming', 'bool'),
  one(6, 'serverStreaming', 'bool'),
]);

const location = table('SourceCodeInfo.Location', [
  many(1, 'path', 'int32'),
  one(3, 'leadingComments', 'string'),
  one(4, 'trailingComments', 'string'),
  many(6, 'leadingDetachedComments', 'string'),
]);

const file = table<FileDescriptor>('FileDescriptorProto', [
  one(1, 'name', 'string'),
  one(2, 'package', 'string'),
  many(4, 'messageType', descriptor),
  many(6, 'service', table('ServiceDescriptorProto', [one(1, 'name', 'string'), many(2, 'method', method)])),
  one(9, 'sourceCodeInfo', table('SourceCodeInfo', [many(1, 'location', location)])),
  one(12, 'syntax', 'string'),
]);

/** What `protoc --descriptor_set_out` writes. */
export const fileDescriptorSet: MessageType<{ file: readonly FileDescriptor[] }> = table(
  'FileDescriptorSet',
  [many(1, 'file', file)],
);
