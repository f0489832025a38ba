# RTMDet-m that finds 'car' in 'data/coco'. Emitted by `posetools config`.
# The stock tools/train.py and tools/test.py of mmdet run it as it is; posetools is not imported.
# Stated is only what differs from the stock recipe, with the reason:
_base_ = 'mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py'

# data ---------------------------------------------------------------------------------------------
data_root = 'data/coco'  # seen from the folder in which training is started
# A tuple, with the comma: of a plain string every letter would be a class.
metainfo = dict(classes=('car', ), palette=[(0, 127, 255)])

# schedule -----------------------------------------------------------------------------------------
max_epochs = 200  # the rest of the schedule follows from it
stage2_num_epochs = 20  # the last ones, without mosaic and mixup
val_interval = 10  # epochs
batch_size = 4  # on one device
val_batch_size = 2
num_workers = 4  # processes per loader; more where cores are free
persistent_workers = num_workers > 0  # torch refuses to keep workers where there are none
# The stock rate is for batches of 256. Adam's goes with the square root of the batch
# (Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, 2022).
base_lr = 0.004 * (batch_size / 256)**0.5  # 0.0005
# Stock warms up for 1000 iterations whatever the data; on a small set that is most of the run.
iterations = max_epochs * -(-6 // batch_size)  # 400: 6 pictures an epoch
warmup_iters = min(1000, max(2, iterations // 10))  # 40

train_cfg = dict(max_epochs=max_epochs, val_interval=val_interval,
                 dynamic_intervals=[(max_epochs - stage2_num_epochs, 1)])
optim_wrapper = dict(optimizer=dict(lr=base_lr))
# `--auto-scale-lr` (several GPUs) scales from this batch.
auto_scale_lr = dict(base_batch_size=batch_size)
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=warmup_iters),
    dict(  # the first half at base_lr, then down to a twentieth of it
        type='CosineAnnealingLR', eta_min=base_lr * 0.05, by_epoch=True, convert_to_iter_based=True,
        begin=max_epochs // 2, end=max_epochs, T_max=max_epochs - max_epochs // 2)
]
default_hooks = dict(checkpoint=dict(
    interval=val_interval, save_best='coco/bbox_mAP', rule='greater'))  # what is saved was evaluated
randomness = dict(seed=21)  # so that a run can be repeated

# model --------------------------------------------------------------------------------------------
# SyncBN cannot run on the CPU in several processes; in a single one mmengine makes it BN itself.
norm_cfg = dict(type='BN')
# The stock recipe has no ImageNet weights for this size: the backbone starts at random.
model = dict(
    backbone=dict(norm_cfg=norm_cfg),
    neck=dict(norm_cfg=norm_cfg),
    bbox_head=dict(norm_cfg=norm_cfg, num_classes=1))

# loaders and evaluation ---------------------------------------------------------------------------
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=persistent_workers,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='train_coco.json',
        data_prefix=dict(img='images/'),
    ))
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=num_workers,
    persistent_workers=persistent_workers,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val_coco.json',
        data_prefix=dict(img='images/'),
    ))
test_dataloader = val_dataloader

# A list is replaced as a whole; new is only the epoch of the switch (a literal in some stock recipes).
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True, priority=49),
    dict(type='PipelineSwitchHook', switch_epoch=max_epochs - stage2_num_epochs,
         switch_pipeline=_base_.train_pipeline_stage2),
]

val_evaluator = dict(ann_file=f'{data_root}/val_coco.json')
test_evaluator = val_evaluator
