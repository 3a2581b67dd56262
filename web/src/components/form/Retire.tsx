import { Button, Group, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import type { ReactNode } from "react";
import { ConfirmByName } from "../ConfirmByName";
import { FormFailure } from "./FormFailure";
import { FormSection } from "./FormPage";

/** A change that can be asked for, and how it goes. */
interface Act {
  isPending: boolean;
  error: unknown;
  /** What its button says. */
  label: string;
  ask: () => void;
}

/** Taking a resource out of service, or away; `children` say what its removal does. */
export function Retire(props: {
  title: string;
  help: string;
  name: string;
  /** To disable it, or to enable it again. */
  turn: Act;
  remove: Act;
  removeAsk: string;
  children: ReactNode;
}) {
  const { turn, remove } = props;
  const [asking, { open, close }] = useDisclosure(false);
  return (
    <FormSection title={props.title} help={props.help}>
      <FormFailure error={turn.error} />
      <Group gap="xs">
        <Button variant="default" loading={turn.isPending} onClick={turn.ask}>
          {turn.label}
        </Button>
        <Button variant="light" color="red" onClick={open}>
          {remove.label}
        </Button>
      </Group>
      <ConfirmByName
        opened={asking}
        title={props.removeAsk}
        name={props.name}
        act={remove.label}
        busy={remove.isPending}
        error={remove.error}
        onClose={close}
        onConfirm={remove.ask}
      >
        <Text fz="md">{props.children}</Text>
      </ConfirmByName>
    </FormSection>
  );
}
