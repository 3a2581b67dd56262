/** What prices and budgets are usually kept in. */
export const CURRENCIES = ["USD", "EUR", "CNY", "GBP", "JPY"];
