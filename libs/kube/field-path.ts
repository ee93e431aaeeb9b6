/** One step through a protobuf message: the field's number and what stands there. */
export interface FieldStep {
  readonly field: number;
  readonly type: 'message' | 'string' | 'bool' | 'int';
}

/** Where a selectable field stands in an object, in each encoding. */
export interface FieldPath {
  readonly json: readonly string[];
  /** Empty where the resource has no protobuf form (custom resources). */
  readonly protobuf: readonly FieldStep[];
}
