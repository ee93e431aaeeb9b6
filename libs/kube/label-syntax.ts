/** Upstream's rules for label keys and values, with its texts (k8s.io/apimachinery/pkg/api/validate/content). */

const NAME_FORMAT = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const NAME = new RegExp(`^(?:${NAME_FORMAT})$`);
const DNS_LABEL_FORMAT = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const DNS_SUBDOMAIN_FORMAT = `${DNS_LABEL_FORMAT}(\\.${DNS_LABEL_FORMAT})*`;
const DNS_LABEL = new RegExp(`^${DNS_LABEL_FORMAT}$`);
const MAX_NAME_BYTES = 63;
const MAX_DNS_SUBDOMAIN_BYTES = 253;

const MUST_CONSIST =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const NAME_EXAMPLES =
  "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '" + NAME_FORMAT + "')";

/** What is wrong with a label key; empty if nothing is. */
export function labelKeyProblems(key: string): readonly string[] {
  const parts = key.split('/');
  const [prefix, name] = parts.length === 1 ? [undefined, key] : [parts[0] ?? '', parts[1] ?? ''];
  if (parts.length > 2) {
    const shape = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    return [`a valid label key ${MUST_CONSIST} ${NAME_EXAMPLES} ${shape}`];
  }
  const problems: string[] = [];
  if (prefix === '') problems.push('prefix part must be non-empty');
  else if (prefix !== undefined) problems.push(...subdomainProblems(prefix).map((problem) => `prefix part ${problem}`));
  if (name === '') problems.push('name part must be non-empty');
  else if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    problems.push(`name part must be no more than ${MAX_NAME_BYTES} bytes`);
  }
  if (!NAME.test(name)) problems.push(`name part ${MUST_CONSIST} ${NAME_EXAMPLES}`);
  return problems;
}

function subdomainProblems(prefix: string): readonly string[] {
  const problems: string[] = [];
  if (Buffer.byteLength(prefix) > MAX_DNS_SUBDOMAIN_BYTES) {
    problems.push(`must be no more than ${MAX_DNS_SUBDOMAIN_BYTES} bytes`);
  }
  // Label by label: the whole format as one expression would backtrack.
  if (!prefix.split('.').every((label) => DNS_LABEL.test(label))) {
    problems.push(
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', " +
        `and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${DNS_SUBDOMAIN_FORMAT}')`,
    );
  }
  return problems;
}

/** What is wrong with a label value; empty if nothing is. */
export function labelValueProblems(value: string): readonly string[] {
  const problems: string[] = [];
  if (Buffer.byteLength(value) > MAX_NAME_BYTES) problems.push(`must be no more than ${MAX_NAME_BYTES} bytes`);
  if (value !== '' && !NAME.test(value)) {
    problems.push(
      "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', " +
        "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', " +
        `regex used for validation is '(${NAME_FORMAT})?')`,
    );
  }
  return problems;
}
