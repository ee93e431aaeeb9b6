/** What was given cannot be checked; it says nothing about the streams. */
export class CheckError extends Error {
  override readonly name = 'CheckError';
  readonly code: 'reference_too_short' | 'reference_disordered' | 'unknown_field';

  constructor(code: CheckError['code'], message: string) {
    super(message);
    this.code = code;
  }
}
