/** Why a verification could not be made, or what it ended with. */
export class VerifyError extends Error {
  override readonly name = 'VerifyError';
  readonly code: 'cannot_read' | 'cannot_write' | 'not_quiet' | 'bad_tokens';

  constructor(code: VerifyError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The two sides differ; the report says where. The command ends with 3. */
export class DifferencesFound extends Error {
  override readonly name = 'DifferencesFound';
  readonly code = 'DifferencesFound';

  constructor(count: number) {
    super(`${count} ${count === 1 ? 'answer differs' : 'answers differ'} from kube-apiserver's`);
  }
}
