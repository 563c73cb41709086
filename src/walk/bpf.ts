import { addressBytes } from '../ip/address.ts';
import type { WalkingPacket } from './packet.ts';

interface Instruction {
  readonly code: number;
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

const halt: Instruction = { code: -1, jt: 0, jf: 0, k: 0 };

/** Whether classic BPF (word loads, tax, jeq by constant or X, ret) takes the packet's IP header; undefined: other instructions. */
export function takes(bytecode: string, packet: WalkingPacket): boolean | undefined {
  const data = header(packet);
  const program = readProgram(bytecode);
  let [a, x] = [0, 0];
  for (let at = 0; at < program.length; at++) {
    const { code, jt, jf, k } = program[at] ?? halt;
    switch (code) {
      case 32:
        if (k + 4 > data.byteLength) return undefined;
        a = data.getUint32(k);
        break;
      case 7:
        x = a;
        break;
      case 21:
      case 29:
        at += a === (code === 21 ? k : x) ? jt : jf;
        break;
      case 6:
        return k !== 0;
      default:
        return undefined;
    }
  }
  return undefined;
}

/** `4,48 0 0 9,21 0 1 6,…`: a count, then code, jt, jf and k of each instruction. */
function readProgram(text: string): readonly Instruction[] {
  return text
    .split(',')
    .slice(1)
    .map((each) => {
      const [code = -1, jt = 0, jf = 0, k = 0] = each.trim().split(/\s+/).map(Number);
      return { code, jt, jf, k };
    });
}

function header({ source, destination }: WalkingPacket): DataView {
  const v6 = source.includes(':');
  const bytes = new Uint8Array(v6 ? 40 : 20);
  bytes.set(addressBytes(source), v6 ? 8 : 12);
  bytes.set(addressBytes(destination), v6 ? 24 : 16);
  return new DataView(bytes.buffer);
}
