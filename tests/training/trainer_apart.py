"""A training by the Trainer with our callbacks, which torchrun can start: `trainer_apart.py OUT.json WAY`, WAY being ddp or fsdp2."""

import json
import sys
from pathlib import Path
from unittest import mock

import torch
from torch import distributed
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from prunescale.training import KeepZeros, RecordRun
from prunescale.training.distributed import whole

N_STEPS, N_SEQUENCES = 4, 4
SETTINGS = {
    "max_steps": N_STEPS,
    "gradient_accumulation_steps": 2,
    "learning_rate": 0.01,
    "lr_scheduler_type": "constant",
    "weight_decay": 0.1,
    "max_grad_norm": 0.05,
    "eval_strategy": "steps",
    "eval_steps": 1,
    "logging_steps": 1,
    "save_strategy": "no",
    "train_sampling_strategy": "sequential",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}
SHARDED = {"fsdp": True, "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]}}


def model_with_zeros():
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(vocab_size=257, max_position_embeddings=64, initializer_range=0.2, **sizes))
    for name, parameter in model.named_parameters():
        if "_proj" in name:
            parameter.data[:, 0::4] = 0
            parameter.data[:, 3::4] = 0
    return model


def sharding_on_cpus():
    """accelerate shards models on accelerators only; here it is made to take CPUs for some."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    made = AcceleratorState.__init__

    def make(self, *arguments, fsdp_plugin=None, **options):
        made(self, *arguments, fsdp_plugin=fsdp_plugin, **options)
        if fsdp_plugin is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin

    return mock.patch.object(AcceleratorState, "__init__", make)


def run(way, folder, world_size=1):
    """What came of it, in the first process: the run's curve and counts, the norms of the gradients, and where the zeros were kept."""
    model = model_with_zeros()
    zeros = {name: parameter == 0 for name, parameter in model.named_parameters()}
    ids = torch.randint(1, 257, (N_STEPS * N_SEQUENCES + 8, 17), generator=torch.Generator().manual_seed(0))
    rows = [{"input_ids": row, "labels": row} for row in ids]
    record = RecordRun(folder / "runs.db")
    batch = {"per_device_train_batch_size": N_SEQUENCES // 2 // world_size, "output_dir": str(folder)}
    arguments = TrainingArguments(**SETTINGS, **batch, **(SHARDED if way == "fsdp2" else {}))
    trainer = Trainer(model, arguments, train_dataset=rows[:-8], eval_dataset=rows[-8:], callbacks=[KeepZeros(), record])
    trainer.train()
    parameters = {name.removeprefix("module."): whole(parameter) for name, parameter in trainer.model.named_parameters()}
    return record.run and {
        "points": [(point.n_tokens, point.loss) for point in record.run.points],
        "nonzero": record.run.n_params_nonzero,
        "sparsity": record.run.inputs["sparsity"],
        "norms": [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry],
        "kept": all(torch.equal(parameters[name] == 0, zero) for name, zero in zeros.items()),
        "sharded": "FSDP" in type(trainer.model).__name__,
    }


if __name__ == "__main__":
    out, way = Path(sys.argv[1]), sys.argv[2]
    with sharding_on_cpus():
        found = run(way, out.parent, world_size=2)
    if found:
        out.write_text(json.dumps(found))
    distributed.barrier()  # who leaves first takes the others' connections along
    distributed.destroy_process_group()
