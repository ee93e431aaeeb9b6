import { goQuote, int64Problem } from './go-strconv.ts';
import { labelKeyProblems, labelValueProblems } from './label-syntax.ts';
import { SelectorSyntaxError } from './selector-syntax-error.ts';

export type LabelOperator = '=' | '==' | '!=' | 'in' | 'notin' | 'exists' | '!' | 'gt' | 'lt';

/** One requirement of a label selector; `values` are sorted and distinct, empty for `exists` and `!`. */
export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  readonly values: readonly string[];
}

type TokenKind =
  | 'end'
  | 'error'
  | 'identifier'
  | ')'
  | ','
  | '!'
  | '=='
  | '='
  | '>'
  | 'in'
  | '<'
  | '!='
  | 'notin'
  | '(';

interface Token {
  readonly kind: TokenKind;
  readonly literal: string;
}

const SYMBOLS: ReadonlySet<string> = new Set<TokenKind>([')', ',', '!', '==', '=', '>', '<', '!=', '(']);
const KEYWORDS: ReadonlySet<string> = new Set<TokenKind>(['in', 'notin']);
const BINARY_OPERATORS = 'in, notin, =, ==, !=, gt, lt';

/**
 * The requirements of a label selector in the order written, by upstream's lexer and parser
 * (k8s.io/apimachinery/pkg/labels/selector.go). Throws SelectorSyntaxError with upstream's text.
 */
export function parseLabelRequirements(text: string): readonly LabelRequirement[] {
  return new Parser(tokens(text)).parse();
}

function tokens(text: string): readonly Token[] {
  const found: Token[] = [];
  let position = 0;
  for (;;) {
    while (/[ \t\r\n]/.test(text.charAt(position))) position += 1;
    const first = text.charAt(position);
    // A NUL reads as the end of the text, as upstream's lexer has it.
    if (first === '' || first === '\0') break;
    const token = /[=!(),><]/.test(first) ? symbolAt(text, position) : wordAt(text, position);
    found.push(token.token);
    position = token.next;
  }
  found.push({ kind: 'end', literal: '' });
  return found;
}

function wordAt(text: string, start: number): { token: Token; next: number } {
  let end = start;
  while (end < text.length && !/[=!(),>< \t\r\n\0]/.test(text.charAt(end))) end += 1;
  const literal = text.slice(start, end);
  const kind = KEYWORDS.has(literal) ? (literal as TokenKind) : 'identifier';
  // The NUL that ended a word is consumed with it; what follows is a token of its own.
  return { token: { kind, literal }, next: text.charAt(end) === '\0' ? end + 1 : end };
}

/** The longest symbol at `start`; every single special character but none is a symbol, so there is always one. */
function symbolAt(text: string, start: number): { token: Token; next: number } {
  let end = start + 1;
  while (end < text.length && SYMBOLS.has(text.slice(start, end + 1))) end += 1;
  const literal = text.slice(start, end);
  // After a symbol at the very end of its run upstream also swallows a NUL.
  return { token: { kind: literal as TokenKind, literal }, next: text.charAt(end) === '\0' ? end + 1 : end };
}

class Parser {
  readonly #tokens: readonly Token[];
  #position = 0;

  constructor(tokenList: readonly Token[]) {
    this.#tokens = tokenList;
  }

  parse(): readonly LabelRequirement[] {
    const requirements: LabelRequirement[] = [];
    for (;;) {
      const { kind, literal } = this.#peek();
      if (kind === 'end') return requirements;
      if (kind !== 'identifier' && kind !== '!') {
        throw new SelectorSyntaxError(`found '${literal}', expected: !, identifier, or 'end of string'`);
      }
      requirements.push(this.#requirement());
      const separator = this.#next();
      if (separator.kind === 'end') return requirements;
      if (separator.kind !== ',') {
        throw new SelectorSyntaxError(`found '${separator.literal}', expected: ',' or 'end of string'`);
      }
      const following = this.#peek();
      if (following.kind !== 'identifier' && following.kind !== '!') {
        throw new SelectorSyntaxError(`found '${following.literal}', expected: identifier after ','`);
      }
    }
  }

  /** Where a key or value may stand, the words `in` and `notin` are ordinary identifiers. */
  #peek(): Token {
    const token = this.#tokens[this.#position] ?? { kind: 'end', literal: '' };
    return KEYWORDS.has(token.kind) ? { kind: 'identifier', literal: token.literal } : token;
  }

  #next(): Token {
    const token = this.#peek();
    this.#position += 1;
    return token;
  }

  #requirement(): LabelRequirement {
    let token = this.#next();
    const negated = token.kind === '!';
    if (negated) token = this.#next();
    if (token.kind !== 'identifier') throw requirementError(`found '${token.literal}', expected: identifier`);
    const key = token.literal;
    const problems = labelKeyProblems(key);
    if (problems.length > 0) throw requirementError(`<nil>: Invalid value: ${goQuote(key)}: ${problems.join('; ')}`);
    const following = this.#peek().kind;
    if (negated) return { key, operator: '!', values: [] };
    if (following === 'end' || following === ',') return { key, operator: 'exists', values: [] };
    const operator = this.#operator();
    const values = operator === 'in' || operator === 'notin' ? this.#valueSet() : [this.#exactValue()];
    const requirement = { key, operator, values: [...new Set(values)].toSorted() };
    checkValues(requirement);
    return requirement;
  }

  #operator(): LabelOperator {
    const token = this.#tokens[this.#position] ?? { kind: 'end', literal: '' };
    this.#position += 1;
    switch (token.kind) {
      case '=':
      case '==':
      case '!=':
      case 'in':
      case 'notin':
        return token.kind;
      case '>':
        return 'gt';
      case '<':
        return 'lt';
      default:
        throw requirementError(`found '${token.literal}', expected: ${BINARY_OPERATORS}`);
    }
  }

  #exactValue(): string {
    const { kind } = this.#peek();
    if (kind === 'end' || kind === ',') return '';
    const token = this.#next();
    if (token.kind !== 'identifier') throw requirementError(`found '${token.literal}', expected: identifier`);
    return token.literal;
  }

  #valueSet(): readonly string[] {
    const open = this.#next();
    if (open.kind !== '(') throw requirementError(`found '${open.literal}' expected: '('`);
    const first = this.#peek();
    if (first.kind === ')') {
      this.#next();
      return [''];
    }
    if (first.kind !== 'identifier' && first.kind !== ',') {
      throw requirementError(`found '${first.literal}', expected: ',', ')' or identifier`);
    }
    return this.#values();
  }

  /** Values up to and including the closing parenthesis. An empty value stands before, after and between commas. */
  #values(): readonly string[] {
    const values: string[] = [];
    for (;;) {
      const token = this.#next();
      const following = this.#peek();
      if (token.kind === 'identifier') {
        values.push(token.literal);
        if (following.kind === ')') break;
        if (following.kind !== ',') throw requirementError(`found '${following.literal}', expected: ',' or ')'`);
      } else if (token.kind === ',') {
        if (values.length === 0) values.push('');
        if (following.kind === ')' || following.kind === ',') values.push('');
        if (following.kind === ')') break;
      } else {
        throw requirementError(`found '${token.literal}', expected: ',', or identifier`);
      }
    }
    this.#next();
    return values;
  }
}

function requirementError(text: string): SelectorSyntaxError {
  return new SelectorSyntaxError(`unable to parse requirement: ${text}`);
}

/** Upstream's NewRequirement: several problems are listed in brackets, equal ones once. */
function checkValues({ key, operator, values }: LabelRequirement): void {
  const problems: string[] = [];
  if (operator === 'gt' || operator === 'lt') {
    for (const [index, value] of values.entries()) {
      if (int64Problem(value) === undefined) continue;
      const rule = "for 'Gt', 'Lt' operators, the value must be an integer";
      problems.push(`values[${index}]: Invalid value: ${goQuote(value)}: ${rule}`);
    }
  }
  for (const [index, value] of values.entries()) {
    const wrong = labelValueProblems(value);
    if (wrong.length > 0)
      problems.push(`values[${index}][${key}]: Invalid value: ${goQuote(value)}: ${wrong.join('; ')}`);
  }
  if (problems.length === 0) return;
  throw requirementError(problems.length === 1 ? (problems[0] ?? '') : `[${problems.join(', ')}]`);
}
