/** Of containerd's log: the date, and the message with its quotes as they are printed. */
const line = /^time="(?<date>[^"]+)" level=info msg="(?<message>.*)"$/;

/** The calls that bring a pod up. Each is about a pod by name, a sandbox or a container; of two it is said what was made. */
const calls = [
  /^RunPodSandbox for &PodSandboxMetadata\{Name:(?<about>[^,]+),.*?(?<ended> returns sandbox id "(?<made>\w+)")?$/,
  /^CreateContainer within sandbox "(?<about>\w+)" for .*?(?<ended> returns container id "(?<made>\w+)")?$/,
  /^StartContainer for "(?<about>\w+)"(?<ended> returns successfully)?$/,
] as const;

/**
 * What containerd has spent on each pod, in ms: the calls that make its sandbox and its one container and start that, from call to
 * answer, as containerd's own log dates both. By name of pod.
 */
export function containerdShares(log: string): ReadonlyMap<string, number> {
  const begunMs = new Map<string, number>();
  /** Of a sandbox or a container, by id. */
  const pods = new Map<string, string>();
  const spent = new Map<string, number>();
  for (const text of log.split('\n')) {
    const { date = '', message = '' } = line.exec(text)?.groups ?? {};
    const call = callIn(message.replaceAll(String.raw`\"`, '"'));
    if (call === undefined) continue;
    const { key, about, made, hasEnded } = call;
    const pod = pods.get(about) ?? about;
    if (made !== undefined) pods.set(made, pod);
    const ms = Date.parse(date);
    const began = begunMs.get(key);
    if (!hasEnded) begunMs.set(key, ms);
    else if (began !== undefined) spent.set(pod, (spent.get(pod) ?? 0) + ms - began);
  }
  return spent;
}

interface Call {
  readonly key: string;
  readonly about: string;
  readonly made: string | undefined;
  readonly hasEnded: boolean;
}

function callIn(message: string): Call | undefined {
  for (const [i, pattern] of calls.entries()) {
    const { about, made, ended } = pattern.exec(message)?.groups ?? {};
    if (about !== undefined) {
      return { key: `${i} ${about}`, about, made, hasEnded: ended !== undefined };
    }
  }
  return undefined;
}
