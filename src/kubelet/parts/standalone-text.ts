/** What an agent without an API server says of itself when it has started. */
export function standaloneText(
  nodeName: string,
  sources: readonly { readonly place: string }[],
  isAsked: boolean,
): string {
  const places = sources.map(({ place }) => place).join(' and ');
  const look = isAsked ? '; switchyard ps, logs and exec look at them' : '';
  return `without an API server: runs the static pods of ${places}, each as NAME-${nodeName}${look}`;
}
