import { Button, Group, Modal, Select, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { IconPlus, IconTicket } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { fieldErrors } from "@/api/problem";
import { useMay } from "@/api/session";
import type { BalanceEntry, Balance as BalanceStanding, Tenant } from "@/api/types";
import { DrawerSection, Facts } from "@/components/DetailDrawer";
import { ErrorState } from "@/components/ErrorState";
import { MoneyText, TimeText } from "@/components/Figures";
import { FormFailure } from "@/components/form/FormFailure";
import { PanelTable } from "@/components/PanelTable";
import { isDecimal, isZero } from "@/lib/money";

/** Enough to see what was booked of late; all of it is in the API. */
const ENTRIES_SHOWN = 20;
const KINDS = ["top_up", "adjustment"] as const;

/** What the tenant paid in, and what is left of it. Nothing where it neither pays in advance nor ever did. */
export function Balance({ tenant }: { tenant: Tenant }) {
  const { t } = useTranslation(["balances", "common"]);
  const may = useMay();
  const [doing, setDoing] = useState<"booking" | "redeeming">();
  const params = { path: { id: tenant.id } };
  const balance = api.useQuery("get", "/admin/v1/tenants/{id}/balance", { params });
  const entries = api.useQuery("get", "/admin/v1/tenants/{id}/balance-entries", {
    params: { ...params, query: { limit: ENTRIES_SHOWN } },
  });
  const isIdle = tenant.billing.mode === "postpaid" && entries.data?.data.length === 0;
  if (isIdle && !may("balances.write")) return null;
  const error = balance.error ?? entries.error;
  return (
    <DrawerSection title={t("title")}>
      {error ? <ErrorState error={error} onRetry={() => void balance.refetch()} /> : null}
      {tenant.billing.mode === "postpaid" ? (
        <Text fz="sm" c="dimmed" mb="xs">
          {t("idle")}
        </Text>
      ) : null}
      {balance.data && !isIdle ? <Standing balance={balance.data} /> : null}
      <PanelTable
        label={t("entries")}
        empty={t("empty")}
        words={1}
        head={[t("entry"), t("amount"), t("booked")]}
        rows={entries.data?.data.map((entry) => ({
          key: entry.id,
          cells: [
            <Booked key="entry" entry={entry} />,
            <MoneyText key="amount" money={entry} />,
            <TimeText key="booked" at={entry.created_at} />,
          ],
        }))}
      />
      <Group gap="xs" mt="xs">
        {may("balances.write") ? (
          <Button
            variant="default"
            size="xs"
            leftSection={<IconPlus size={14} />}
            onClick={() => setDoing("booking")}
          >
            {t("topUp")}
          </Button>
        ) : null}
        {may("vouchers.redeem") ? (
          <Button
            variant="default"
            size="xs"
            leftSection={<IconTicket size={14} />}
            onClick={() => setDoing("redeeming")}
          >
            {t("redeem")}
          </Button>
        ) : null}
      </Group>
      {doing === "booking" ? <TopUp tenant={tenant} onClose={() => setDoing(undefined)} /> : null}
      {doing === "redeeming" ? (
        <Redeem tenant={tenant} onClose={() => setDoing(undefined)} />
      ) : null}
    </DrawerSection>
  );
}

/** The reference of a voucher says no more than that it is one. */
function Booked({ entry }: { entry: BalanceEntry }) {
  const { t } = useTranslation("balances");
  const kind = t(`kinds.${entry.kind}`);
  const isVoucher = entry.kind === "voucher";
  const more = [isVoucher ? null : kind, entry.note, entry.booked_by].filter(Boolean);
  return (
    <Stack gap={0} style={{ overflowWrap: "anywhere" }}>
      <strong>{isVoucher ? kind : entry.reference}</strong>
      <Text fz="xs" c="dimmed">
        {more.join(" · ")}
      </Text>
    </Stack>
  );
}

function Standing({ balance }: { balance: BalanceStanding }) {
  const { t } = useTranslation("balances");
  const { amount, spent, remaining, currency } = balance;
  return (
    <Facts
      rows={[
        [t("remaining"), <MoneyText key="remaining" money={{ amount: remaining, currency }} />],
        [t("paidIn"), <MoneyText key="paid" money={{ amount, currency }} />],
        [t("spent"), <MoneyText key="spent" money={{ amount: spent, currency }} />],
      ]}
    />
  );
}

function TopUp({ tenant, onClose }: { tenant: Tenant; onClose: () => void }) {
  const { t } = useTranslation(["balances", "common"]);
  const changed = useChanged("tenants");
  const form = useForm({
    initialValues: {
      kind: "top_up" as (typeof KINDS)[number],
      amount: "",
      reference: "",
      note: "",
    },
    validate: {
      amount: (amount, { kind }) => {
        const digits = kind === "adjustment" ? amount.trim().replace(/^-/, "") : amount.trim();
        return isDecimal(digits) && !isZero(digits) ? null : t("amountRule");
      },
      reference: (reference) => (reference.trim() ? null : t("referenceRule")),
    },
    validateInputOnBlur: true,
  });
  const book = api.useMutation("post", "/admin/v1/tenants/{id}/balance-entries", {
    onSuccess: ({ was_booked_before }) => {
      onClose();
      changed(t(was_booked_before ? "bookedBefore" : "bookedNow"));
    },
    onError: (error: unknown) => form.setErrors(fieldErrors(error)),
  });
  return (
    <Modal opened onClose={onClose} title={t("topUpOf", { name: tenant.name })} size="md">
      <form
        noValidate
        onSubmit={form.onSubmit(({ kind, amount, reference, note }) =>
          book.mutate({
            params: { path: { id: tenant.id } },
            body: {
              kind,
              amount: amount.trim(),
              currency: tenant.billing.currency,
              reference: reference.trim(),
              ...(note.trim() ? { note: note.trim() } : {}),
            },
          }),
        )}
      >
        <Stack gap="md">
          <FormFailure error={book.error} />
          <Select
            label={t("kind")}
            data={KINDS.map((value) => ({ value, label: t(`kinds.${value}`) }))}
            allowDeselect={false}
            {...form.getInputProps("kind")}
          />
          <TextInput
            data-autofocus
            label={t("amountIn", { currency: tenant.billing.currency })}
            inputMode="decimal"
            {...form.getInputProps("amount")}
          />
          <TextInput
            label={t("reference")}
            description={t("referenceHelp")}
            inputWrapperOrder={["label", "input", "description", "error"]}
            autoComplete="off"
            {...form.getInputProps("reference")}
          />
          <TextInput
            label={t("note")}
            placeholder={t("common:optional")}
            {...form.getInputProps("note")}
          />
          <Acts act={t("book")} busy={book.isPending} onClose={onClose} />
        </Stack>
      </form>
    </Modal>
  );
}

function Redeem({ tenant, onClose }: { tenant: Tenant; onClose: () => void }) {
  const { t } = useTranslation(["balances", "common"]);
  const changed = useChanged("vouchers");
  const form = useForm({ initialValues: { code: "" } });
  const redeem = api.useMutation("post", "/admin/v1/tenants/{id}:redeem-voucher", {
    onSuccess: () => {
      onClose();
      changed(t("redeemed"));
    },
    onError: (error: unknown) => form.setErrors(fieldErrors(error)),
  });
  return (
    <Modal opened onClose={onClose} title={t("redeemTo", { name: tenant.name })} size="md">
      <form
        noValidate
        onSubmit={form.onSubmit(({ code }) =>
          redeem.mutate({ params: { path: { id: tenant.id } }, body: { code } }),
        )}
      >
        <Stack gap="md">
          <FormFailure error={redeem.error} />
          <TextInput
            data-autofocus
            label={t("code")}
            placeholder="TGV-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX"
            autoComplete="off"
            spellCheck={false}
            {...form.getInputProps("code")}
          />
          <Acts act={t("redeem")} busy={redeem.isPending} onClose={onClose} />
        </Stack>
      </form>
    </Modal>
  );
}

function Acts({ act, busy, onClose }: { act: string; busy: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  return (
    <Group gap="xs">
      <Button type="submit" loading={busy}>
        {act}
      </Button>
      <Button variant="default" onClick={onClose}>
        {t("cancel")}
      </Button>
    </Group>
  );
}
