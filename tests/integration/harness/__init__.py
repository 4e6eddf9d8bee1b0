"""What tests need to drive real processes: ipamd, ipamc, generated messages, the hash chain computed anew."""
