import { Button, NumberInput, Select, TextInput } from "@mantine/core";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useUpstreams } from "@/api/lists";
import type { Target } from "@/api/types";
import { IconAction } from "@/components/IconAction";
import classes from "./TargetFields.module.css";

export interface TargetValues {
  /** Only to tell the rows of the form apart. */
  key: string;
  upstream_id: string;
  upstream_model: string;
  weight: number | "";
  priority: number | "";
}

let rows = 0;
export function newTarget(): TargetValues {
  rows += 1;
  return { key: `new-${rows}`, upstream_id: "", upstream_model: "", weight: 1, priority: 1 };
}

export function targetValues(targets: Target[]): TargetValues[] {
  return targets.map(({ id, upstream_id, upstream_model, weight, priority }) => ({
    key: id,
    upstream_id,
    upstream_model,
    weight,
    priority,
  }));
}

export function targetBody(targets: TargetValues[]) {
  return targets.map(({ upstream_id, upstream_model, weight, priority }) => ({
    upstream_id,
    upstream_model: upstream_model.trim(),
    weight: weight === "" ? null : weight,
    priority: priority === "" ? null : priority,
  }));
}

/** Where a model is served from: lower priority first, and within one priority by weight. */
export function TargetFields({
  targets,
  input,
  onAdd,
  onRemove,
}: {
  targets: TargetValues[];
  input: (field: `targets.${number}.${keyof TargetValues}`) => object;
  onAdd: () => void;
  onRemove: (index: number) => void;
}) {
  const { t } = useTranslation(["models", "common"]);
  const upstreams = useUpstreams();
  const choices = upstreams.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? [];
  return (
    <>
      {targets.map((target, index) => (
        <div key={target.key} className={classes.target}>
          <Select
            className={classes.upstream}
            label={t("upstream")}
            data={choices}
            searchable={choices.length > 8}
            allowDeselect={false}
            {...input(`targets.${index}.upstream_id`)}
          />
          <TextInput
            className={classes.model}
            label={t("upstreamModel")}
            autoComplete="off"
            spellCheck={false}
            {...input(`targets.${index}.upstream_model`)}
          />
          <NumberInput
            className={classes.number}
            label={t("priority")}
            min={1}
            max={100}
            hideControls
            {...input(`targets.${index}.priority`)}
          />
          <NumberInput
            className={classes.number}
            label={t("weight")}
            min={1}
            max={1000}
            hideControls
            {...input(`targets.${index}.weight`)}
          />
          <IconAction
            label={t("removeTarget", { number: index + 1 })}
            className={classes.remove}
            variant="transparent"
            disabled={targets.length === 1}
            onClick={() => onRemove(index)}
          >
            <IconTrash size={16} />
          </IconAction>
        </div>
      ))}
      <div>
        <Button variant="default" size="xs" leftSection={<IconPlus size={14} />} onClick={onAdd}>
          {t("addTarget")}
        </Button>
      </div>
    </>
  );
}
