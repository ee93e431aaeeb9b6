/** A label or field selector that upstream cannot read; `message` is upstream's own text (protocol row G1: a 400). */
export class SelectorSyntaxError extends Error {
  readonly code = 'SelectorSyntaxError';
}
