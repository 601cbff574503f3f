"""One older completion by the `openai` package: openai_completion.py plain|stream MODEL PROMPT.

Prints the text as it comes, and at last why it ended. An error is printed once, on standard error, and ends it with
code 3. Key, base URL, proxy and CA come from the variables that the package itself reads.
"""

import sys

import openai

mode, model, prompt = sys.argv[1:]
client = openai.OpenAI(max_retries=0)
stop = None
try:
    if mode == "plain":
        choice = client.completions.create(model=model, prompt=prompt, max_tokens=24).choices[0]
        stop = choice.finish_reason
        print(choice.text, end="")
    else:
        for chunk in client.completions.create(model=model, prompt=[prompt], max_tokens=24, stream=True):
            for choice in chunk.choices:
                print(choice.text, end="", flush=True)
                stop = choice.finish_reason or stop
except openai.APIStatusError as error:
    print(f"error {error.status_code}: {error.message}", file=sys.stderr)
    sys.exit(3)
print()
print("ended", stop)
