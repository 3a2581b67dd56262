import { ActionIcon, Button, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useCopy } from "./useCopy";

export function CopyIcon({ text, label }: { text: string; label?: string }) {
  const { t } = useTranslation();
  const [copied, copy] = useCopy();
  const words = copied ? t("copied") : (label ?? t("copy"));
  return (
    <Tooltip label={words}>
      <ActionIcon aria-label={words} color={copied ? "accent" : "gray"} onClick={() => copy(text)}>
        {copied ? <IconCheck size={16} /> : <IconCopy size={16} />}
      </ActionIcon>
    </Tooltip>
  );
}

export function CopyButton({
  text,
  label,
  primary = false,
}: {
  text: string;
  label?: string;
  primary?: boolean;
}) {
  const { t } = useTranslation();
  const [copied, copy] = useCopy();
  return (
    <Button
      variant={primary ? "filled" : "default"}
      size="xs"
      leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
      onClick={() => copy(text)}
    >
      {copied ? t("copied") : (label ?? t("copy"))}
    </Button>
  );
}
