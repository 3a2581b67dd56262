const VERDICTS = ["rejected", "dropped", "approximated"] as const;
export type Verdict = (typeof VERDICTS)[number];

export interface LossGroup {
  verdict: Verdict;
  fields: string[];
}

/** `dropped=seed,logit_bias; approximated=top_k`, the text of the `x-tallygate-loss` header. */
export function readLoss(loss: string): LossGroup[] {
  return loss.split("; ").flatMap((part) => {
    const [name, list = ""] = part.split("=", 2);
    const verdict = VERDICTS.find((known) => known === name);
    return verdict ? [{ verdict, fields: list.split(",").filter(Boolean) }] : [];
  });
}
