export type KubeconfigErrorCode =
  | 'not_found'
  | 'unreadable'
  | 'invalid_yaml'
  | 'invalid_field'
  | 'no_context'
  | 'unknown_context'
  | 'unknown_cluster'
  | 'unknown_user'
  | 'unsupported'
  | 'conflicting_fields'
  | 'exec_not_found'
  | 'exec_failed'
  | 'exec_invalid_output';

/** The way to the cluster, or a credential it names, is unusable. The message says what to do and holds no secret. */
export class KubeconfigError extends Error {
  override readonly name = 'KubeconfigError';
  readonly code: KubeconfigErrorCode;

  constructor(code: KubeconfigErrorCode, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}
