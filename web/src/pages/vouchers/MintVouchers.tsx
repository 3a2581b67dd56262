import { Button, Group, Modal, NumberInput, Select, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useTenants } from "@/api/lists";
import { fieldErrors } from "@/api/problem";
import type { VoucherWithCode } from "@/api/types";
import { CodeBlock } from "@/components/CodeBlock";
import { FormFailure } from "@/components/form/FormFailure";
import { Note } from "@/components/Meaning";
import { CURRENCIES } from "@/lib/currencies";
import { isDecimal, isZero } from "@/lib/money";
import { saveFile } from "@/lib/saveFile";

const MOST = 1_000;
const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 365;
const MOST_DAYS = 3_650;

/** Asks what to mint, then shows the codes, which nobody sees again. */
export function MintVouchers({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation(["balances", "common"]);
  const [minted, setMinted] = useState<VoucherWithCode[]>();
  return (
    <Modal
      opened
      onClose={onClose}
      title={t("mint")}
      size="md"
      closeOnClickOutside={minted === undefined}
    >
      {minted ? (
        <Codes minted={minted} onClose={onClose} />
      ) : (
        <Ask onMinted={setMinted} onClose={onClose} />
      )}
    </Modal>
  );
}

function Codes({ minted, onClose }: { minted: VoucherWithCode[]; onClose: () => void }) {
  const { t } = useTranslation(["balances", "common"]);
  const text = minted.map(({ code }) => code).join("\n");
  return (
    <Stack gap="md">
      <Note tone="warning" title={t("shownOnce")}>
        {t("shownOnceHelp")}
      </Note>
      <CodeBlock code={text} />
      <Group gap="xs">
        <Button onClick={() => saveFile("vouchers.txt", "text/plain", `${text}\n`)}>
          {t("saveCodes")}
        </Button>
        <Button variant="default" onClick={onClose}>
          {t("common:close")}
        </Button>
      </Group>
    </Stack>
  );
}

function Ask({
  onMinted,
  onClose,
}: {
  onMinted: (minted: VoucherWithCode[]) => void;
  onClose: () => void;
}) {
  const { t } = useTranslation(["balances", "common"]);
  const changed = useChanged("vouchers");
  const tenants = useTenants();
  const form = useForm({
    initialValues: {
      amount: "",
      currency: "USD",
      count: 1 as number | "",
      days: DEFAULT_DAYS as number | "",
      tenant_id: null as string | null,
      note: "",
    },
    validate: {
      amount: (amount) => (isDecimal(amount) && !isZero(amount.trim()) ? null : t("amountRule")),
    },
    validateInputOnBlur: true,
  });
  const mint = api.useMutation("post", "/admin/v1/vouchers", {
    onSuccess: ({ data }) => {
      onMinted(data);
      changed(t("mintedNow", { count: data.length }));
    },
    onError: (error: unknown) => form.setErrors(fieldErrors(error)),
  });
  return (
    <form
      noValidate
      onSubmit={form.onSubmit(({ amount, currency, count, days, tenant_id, note }) =>
        mint.mutate({
          body: {
            amount: amount.trim(),
            currency,
            count: count || 1,
            expires_at: new Date(Date.now() + (days || DEFAULT_DAYS) * DAY_MS).toISOString(),
            ...(tenant_id ? { tenant_id } : {}),
            ...(note.trim() ? { note: note.trim() } : {}),
          },
        }),
      )}
    >
      <Stack gap="md">
        <FormFailure error={mint.error} />
        <Group align="flex-start" gap="xs" wrap="nowrap">
          <TextInput
            data-autofocus
            label={t("amountEach")}
            inputMode="decimal"
            flex={1}
            {...form.getInputProps("amount")}
          />
          <Select
            label={t("currency")}
            data={CURRENCIES}
            allowDeselect={false}
            w={110}
            {...form.getInputProps("currency")}
          />
        </Group>
        <Group align="flex-start" gap="xs" grow>
          <NumberInput
            label={t("count")}
            min={1}
            max={MOST}
            allowDecimal={false}
            {...form.getInputProps("count")}
          />
          <NumberInput
            label={t("days")}
            min={1}
            max={MOST_DAYS}
            allowDecimal={false}
            {...form.getInputProps("days")}
          />
        </Group>
        <Select
          label={t("onlyTenant")}
          placeholder={t("anyTenant")}
          data={tenants.data?.data.map(({ id, name }) => ({ value: id, label: name })) ?? []}
          searchable
          clearable
          {...form.getInputProps("tenant_id")}
        />
        <TextInput
          label={t("note")}
          placeholder={t("common:optional")}
          {...form.getInputProps("note")}
        />
        <Group gap="xs">
          <Button type="submit" loading={mint.isPending}>
            {t("mint")}
          </Button>
          <Button variant="default" onClick={onClose}>
            {t("common:cancel")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
